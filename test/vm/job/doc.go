// Package job is what the two sides of a virtual machine tell each other: what
// the guest is to run (a Job, a file of the initramfs), and what comes of it
// (Messages, lines of JSON over a serial port).
package job
