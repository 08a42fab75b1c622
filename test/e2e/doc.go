// Package e2e tests regrow as people use it: the built binary, real programs,
// and the kernel's word for what came of it.
package e2e
