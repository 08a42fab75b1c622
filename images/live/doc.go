// Package live reads process trees that run into the model of a description, and
// compares them with one.
//
//	/proc/PID ──Look──▶ Seen{Tree, Processes, Unseen}
//	description + Seen ──Compare──▶ Verdict: differences, what is not visible
//
// Verify does both, again where the tree has changed meanwhile.
//
// # A look
//
// Look walks the children of a process, reads the descriptors of each table once, tells
// by kcmp(2) which of them are one open file, and lets each kind of package
// tasktree/kind read the entries that it knows. What belongs to the description of an
// open file is the same through every descriptor, so one of them is asked.
//
// A look changes nothing of what it looks at. Regular files and folders are neither
// opened, copied nor stat'ed in a way that asks a file's server: who holds the copy of
// a file of a silent FUSE server can never close it. Copies of others are held for
// microseconds, one at a time. What waits in a pipe is copied by tee(2).
//
// # What is not there, and what is not visible
//
// Tasks and descriptors come and go while they are looked at: what is gone is no error.
// What the kernel refuses to show (hidepid, another user, a sandbox) is never taken
// for gone, and descriptors of which nobody can say whether they are one open file are
// neither shared nor not: it is all in [Seen.Unseen], with the reason.
package live
