// Package landing chooses which open files come with each message that a task pulls
// from the store, and in which order. The kernel assigns the lowest free numbers, so
// the order decides at which number each file lands: as many as possible land on their
// own numbers.
//
//	free:     3  4  7            wanted:  4 ─ log   7 ─ jobs.r   9 ─ pid
//	message:  pid, log, jobs.r            and one dup3, from 3 to 9
package landing
