// Command vm runs the tests of regrow in virtual machines, with Debian's kernels or with
// kernels given by path. See docs/testing.md.
//
//	host                                        guest
//	apt ─▶ kernel, programs ─┐
//	go test -c, go build ────┼─▶ initramfs ──▶  init (test/vm/guest): mounts, does
//	job.json ────────────────┘                  its job (test/vm/job), powers off
//	   results ◀── second serial port ◀──────── lines of JSON
//	   console ◀── first serial port ◀───────── messages of the kernel
//
// It is a failure if a listed test did not end, if the kernel warned, or if the machine
// died or was silent. So a machine that dies never passes.
package main
