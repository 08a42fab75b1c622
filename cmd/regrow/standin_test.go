package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestHandles reads masks as /proc/PID/status has them.
func TestHandles(t *testing.T) {
	const usr1, last = "0000000000000200", "8000000000000000" // signals 10 and 64
	for _, c := range []struct {
		name, status string
		sig          unix.Signal
		want         bool
	}{
		{"nothing", "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n", unix.SIGUSR1, false},
		{"caught", "SigCgt:\t" + usr1 + "\n", unix.SIGUSR1, true},
		{"ignored", "SigIgn:\t" + usr1 + "\n", unix.SIGUSR1, true},
		{"blocked", "SigBlk:\t" + usr1 + "\n", unix.SIGUSR1, true},
		{"only pending", "SigPnd:\t" + usr1 + "\n", unix.SIGUSR1, false},
		{"another one", "SigCgt:\t" + usr1 + "\n", unix.SIGUSR2, false},
		{"the last one", "SigCgt:\t" + last + "\n", 64, true},
		{"no mask", "SigCgt:\tx\n", unix.SIGUSR1, true}, // no reason to wait
	} {
		if got := handles(c.status, c.sig); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
