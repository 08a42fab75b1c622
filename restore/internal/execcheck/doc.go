// Package execcheck finds out in advance why execve(2) would refuse a program: from its
// first bytes, its program headers and the sizes of its arguments. It is pure: it takes
// bytes and lengths, returns a verdict, and makes no system call. Its caller opens
// files and checks their permissions.
//
// It refuses a program only if every kernel since Linux 5.10 does (fs/exec.c,
// fs/binfmt_script.c, fs/binfmt_elf.c), and with the errno of the kernel. It does not
// decide what depends on the configuration of a kernel, or what the kernel finds out
// only after it has begun to replace the process: see [Verdict.Left].
package execcheck
