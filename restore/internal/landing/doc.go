// Package landing chooses which open files come with each message that a task takes from
// the store, and in which order. The kernel gives out the lowest free numbers, so the
// order says where each file lands: as many as possible where they belong.
//
//	free:     3  4  7            wanted:  4 ─ log   7 ─ jobs.r   9 ─ pid
//	message:  pid, log, jobs.r            and one dup3, from 3 to 9
package landing
