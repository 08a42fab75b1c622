// Package script has commands for the scripts that test the project's programs, see
// [testscript].
//
// [testscript]: https://pkg.go.dev/github.com/rogpeppe/go-internal/testscript
package script
