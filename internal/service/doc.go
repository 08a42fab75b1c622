// Package service keeps open files in a process of its own, which answers requests to push
// one and to pop one over sockets. It is the alternative that was considered when package
// fdstore was invented: every file costs a request, an answer and two switches between
// processes, where a store costs two system calls and no process.
//
//	owner ── Start ──▶ process: map from ID to open file
//	  │                  ▲    ▲
//	  ├── channel ───────┘    │ push(id, file), pop(id)
//	  └── door ── fork ──▶ task ── channel
//
// A process that was given the door opens a channel of its own: it makes a pair
// of SOCK_SEQPACKET sockets and sends one end through the door. Requests and
// answers of one process thus never meet those of another, which they would on
// one shared socket, where the kernel gives an answer to whoever reads first.
// The door carries messages in one direction only, so sharing it is harmless.
//
// # Messages
//
// Every message has 16 bytes, two uint64 in native byte order: the service's
// [Service.Number] and a word, whose upper 8 bits say what is asked and whose
// lower 32 which file.
//
//	door      open, with the service's end of the channel
//	channel   push ID, with a file       answer: the same word
//	          pop ID                     answer: the same word, with the file
//	          seal                       answer: the same word
//	          any                        answer: failed, errno in bits 32 to 47
//
// A popped file stays in the service, since others may pop it, too.
//
// # Starting and ending
//
// The process is the calling program started again, with a guard in its
// environment that [Init] looks for; a program that starts a service calls Init
// first of all in main. Or it is a command of the caller's, whose program does
// so. It ends when its owner closes it or dies, by the end of the owner's
// channel: nobody else holds that. It leads a process group of its own, so that
// keys of a terminal do not end it in the middle.
//
// # Bounds and trust
//
// It keeps at most [MaxFiles] files, fewer if its RLIMIT_NOFILE is lower, and
// each channel takes a descriptor too. What does not fit is an error. A request
// waits at most [Options.Timeout] for its answer; a channel where one came too late
// answers nothing more.
//
// Whoever holds the door can push before the seal, pop every file, and fill the
// table with channels: holders are trusted. None can make the process wait: it
// receives only what is there, has others close what it does not keep, and goes on
// when somebody has shut the door.
//
// # Why it is internal
//
// Package fdstore is what programs are to use. This one needs a process, and a
// program that calls Init; it has neither names nor a list, and does not survive
// its owner. It is here since restore can use it as a strategy of its own, so that
// both ways can be compared on the same trees and the same figures.
//
// Needs Linux 2.6.23 (MSG_CMSG_CLOEXEC). See unix(7).
package service
