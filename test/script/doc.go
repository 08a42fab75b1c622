// Package script has commands for the scripts that drive our programs, see
// [testscript].
//
// [testscript]: https://pkg.go.dev/github.com/rogpeppe/go-internal/testscript
package script
