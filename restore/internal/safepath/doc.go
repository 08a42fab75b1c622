// Package safepath opens paths that mean the same to every process.
//
// A path is opened by whoever makes the file: a task, or the process that
// restores it. Some paths lead to another place for each of them, and the text of
// a path cannot tell: a link anywhere can lead there. The kernel can tell. A path
// is refused ([Another]) if
//
//   - its way goes through a magic link of procfs (/proc/PID/fd/N, exe, cwd, root):
//     openat2(2) with RESOLVE_NO_MAGICLINKS, since Linux 5.6;
//   - what it opens is a process's own entry on a procfs, or a link at the top of one
//     (/proc/self, /proc/mounts), see [Procs.Another];
//   - it opens the device 5:0, which is the controlling terminal of whoever opens
//     it (tty(4)).
//
// Where a sandbox refuses openat2, only a path without any link is safe, see
// [FirstLink].
//
// Tasks hold to the same rules after the fork, by ops of package program that
// package postfork executes.
package safepath
