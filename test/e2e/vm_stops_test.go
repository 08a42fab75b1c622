package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// manyPulls is a tree whose tasks all pull at the same time, each a message of its own.
func manyPulls(tasks int) string {
	const files = 40
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n")
	for i := range files {
		fmt.Fprintf(&b, "  f%d: {type: reg, path: /dev/null}\n", i)
	}
	b.WriteString("tasks:\n  - name: root\n    fds: {0: f0}\n    children:\n")
	for i := range tasks - 1 {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {0: f%d, 1: f%d, 2: f%d, 9: f%d}}\n", i, i%files, (i/2+1)%files, (i/3+2)%files, (i/5+3)%files)
	}
	return b.String()
}

// TestStopsWhilePulling stops tasks while they pull, and resumes them at once. On kernels
// before 6.9 this interrupts setting the peek offset if another task uses the socket: no
// restore may fail because of it.
func TestStopsWhilePulling(t *testing.T) {
	times, seed := rounds.Of(t, "", 3, 12), rounds.Seed(t)
	const tasks = 100
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	path := write(t, manyPulls(tasks))
	stops := 0
	for round := range times {
		r := start(t, "", "restore", "-d", "--json", path)
		ended := make(chan result, 1)
		go func() { ended <- wait(t, r) }()
		for len(ended) == 0 {
			// The root forks the others, so it is not stopped.
			for _, root := range childrenOf(r.cmd.Process.Pid) {
				for _, pid := range childrenOf(root) {
					if rng.IntN(4) == 0 && unix.Kill(pid, unix.SIGSTOP) == nil {
						_ = unix.Kill(pid, unix.SIGCONT)
						stops++
					}
				}
			}
		}
		res := <-ended
		if res.status != 0 {
			t.Errorf("seed %d, round %d: status %d: %s", seed, round, res.status, res.errors)
		} else if n := len(report(t, res).Tasks); n != tasks {
			t.Errorf("seed %d, round %d: %d tasks, want %d", seed, round, n, tasks)
		}
		endTree(t)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d restores, %d stops", times, stops)
	if stops == 0 {
		t.Error("no task was ever stopped")
	}
}
