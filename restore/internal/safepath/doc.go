// Package safepath opens paths that mean the same in every process.
//
// The process that makes a file opens its path: a task, or the process that restores.
// Some paths lead to different files in these processes. The text of a path does not
// show that, because any link may lead to such a path. But the kernel knows it. A path
// is refused ([Another]) if
//
//   - it leads through a magic link of procfs (/proc/PID/fd/N, exe, cwd, root):
//     openat2(2) with RESOLVE_NO_MAGICLINKS, since Linux 5.6;
//   - it leads to a process's own entry of a procfs, or to a link at the top of one
//     (/proc/self, /proc/mounts), see [Procs.Another];
//   - it leads to the device 5:0, the controlling terminal of the process that opens
//     it (tty(4)).
//
// If a sandbox refuses openat2, only a path without links is safe, see [FirstLink].
//
// Tasks follow the same rules after the fork, by ops of package program that package
// postfork executes.
package safepath
