// Command vm runs the tests of regrow in virtual machines, with kernels that
// Debian ships or that are given by path. See docs/testing.md.
//
//	host                                        guest
//	apt ─▶ kernel, programs ─┐
//	go test -c, go build ────┼─▶ initramfs ──▶  init (test/vm/guest): mounts, does
//	job.json ────────────────┘                  its job (test/vm/job), powers off
//	   results ◀── second serial port ◀──────── lines of JSON
//	   console ◀── first serial port ◀───────── what the kernel says
//
// A test that was listed and did not end, a kernel that warned, a machine that
// died or was silent: each is a failure, so that a dead machine is never green.
package main
