// Package interrupt runs a program whose system calls are interrupted again and again, as if
// by signals: of the selected calls each thread's first, third, fifth and so on returns
// EINTR without any effect, as if the kernel had waited for a lock or a file server. So
// tests of EINTR need neither an old kernel nor luck.
//
//	test ── Start ──▶ the test binary again ── filter ──▶ exec ──▶ program ──▶ tasks
//	  │                Init                     (seccomp)                        │
//	  └───────────── listener: EINTR, or let the kernel do it ◀──────────────────┘
//
// Calls of the program's dynamic loader, and of other programs that it starts, are not
// interrupted.
//
// It requires Linux 5.6 (seccomp_unotify(2), pidfd_getfd(2)).
package interrupt
