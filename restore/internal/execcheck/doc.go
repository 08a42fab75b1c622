// Package execcheck finds beforehand why execve(2) would refuse a program: from
// its first bytes, its program headers and the sizes of its arguments. It is pure:
// bytes and lengths in, a verdict out, no system call. Opening files, and looking
// at their permission, is for its caller.
//
// It says no only where every kernel since Linux 5.10 does (fs/exec.c,
// fs/binfmt_script.c, fs/binfmt_elf.c), and with the errno that the kernel gives.
// What depends on how a kernel was built, or what the kernel finds out only after
// it has begun to replace the process, is left to it: see [Verdict.Left].
package execcheck
