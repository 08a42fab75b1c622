// Package e2e tests regrow as users run it: the built binary and real programs, with the
// results checked by the kernel.
package e2e
