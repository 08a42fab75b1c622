// Package interrupt runs a program whose system calls a signal seems to interrupt
// again and again: of the calls that are asked for, each thread's first, third, fifth
// and so on answers EINTR and does nothing, as the kernel would where it waits for a
// lock or for a file server. So it needs neither an old kernel nor luck.
//
//	test ── Start ──▶ the test binary again ── filter ──▶ exec ──▶ program ──▶ tasks
//	  │                Init                     (seccomp)                        │
//	  └───────────── listener: EINTR, or let the kernel do it ◀──────────────────┘
//
// The program's own loader, and other programs that it starts, are left alone.
//
// Needs Linux 5.6 (seccomp_unotify(2), pidfd_getfd(2)).
package interrupt
