// Package job is the protocol between the host and a virtual machine: the guest's work (a
// Job, a file in the initramfs), and its results (Messages, lines of JSON over a serial
// port).
package job
