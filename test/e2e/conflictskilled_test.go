package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// noneLeft waits until all processes of a killed regrow have ended: a task that does not
// notice regrow's end would wait forever.
func noneLeft(t *testing.T, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		reapOrphans()
		left := children()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf(format+": %d processes are left: %v", append(args, alive(append(below(os.Getpid()), left...)), left)...)
			endTree(t)
			return
		}
	}
}

// TestConflictsKilled kills regrow conflicts --run at random moments: no task may be left,
// with any strategy. REGROW_TEST_KILLS is the number of kills for each strategy,
// REGROW_TEST_SEED repeats a run.
func TestConflictsKilled(t *testing.T) {
	kills, seed := rounds.Of(t, "REGROW_TEST_KILLS", 8, 300), rounds.Seed(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "tree.yaml")
	if err := os.WriteFile(path, []byte(killedTree(dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cut"), []byte("whole"), 0o644); err != nil {
		t.Fatal(err)
	}
	// Fork helpers fork most of these, and some share a table.
	wide := write(t, manyPulls(60)+"      - {name: s1, shares: {files: t1}}\n      - {name: s2, shares: {files: t1}}\n")
	for i, strategy := range []string{"fdstore", "service", "inherit"} {
		t.Run(strategy, func(t *testing.T) {
			k := &conflictKills{t: t, rng: rand.New(rand.NewPCG(uint64(seed), uint64(i))), made: filepath.Join(dir, "made")}
			k.args = []string{"conflicts", "--run", "--strategy", strategy}
			k.trees = []string{path, wide}
			k.measure()
			for round := 0; k.killed < kills && !t.Failed(); round++ {
				if round > 20*kills {
					t.Fatalf("only %d of %d rounds ended by the kill", k.killed, round)
				}
				k.once(round)
			}
			t.Logf("seed %d: %d killed, %d of them with processes below", seed, k.killed, k.withTasks)
			if k.withTasks == 0 {
				t.Error("no kill came while there were tasks")
			}
		})
	}
}

// conflictKills kills one command again and again.
type conflictKills struct {
	t     *testing.T
	rng   *rand.Rand
	args  []string
	trees []string // descriptions, used in turn
	made  string   // file that a killed regrow may leave

	usual             time.Duration // from the start to the end
	killed, withTasks int
}

func (k *conflictKills) measure() {
	k.t.Helper()
	k.usual = time.Minute
	for range 3 {
		_ = os.Remove(k.made)
		began := time.Now()
		if res := run(k.t, k.of(0)...); res.status != 0 {
			k.t.Fatalf("status %d: %s", res.status, res.errors)
		}
		k.usual = min(k.usual, time.Since(began))
	}
}

// of returns the command of a round.
func (k *conflictKills) of(round int) []string {
	return append(slices.Clone(k.args), k.trees[round%len(k.trees)])
}

// once kills at a random moment between the start and the end, every other time between
// the first child process and the end.
func (k *conflictKills) once(round int) {
	k.t.Helper()
	_ = os.Remove(k.made)
	delay := time.Duration(k.rng.Int64N(int64(k.usual)))
	r := start(k.t, "", k.of(round/2)...)
	ended := make(chan result, 1)
	go func() { ended <- wait(k.t, r) }()
	if round%2 == 1 {
		delay /= 2
		for len(ended) == 0 && len(below(r.cmd.Process.Pid)) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	time.Sleep(delay)
	tasks := len(below(r.cmd.Process.Pid)) > 0
	_ = r.cmd.Process.Signal(unix.SIGKILL)
	if res := <-ended; res.status != 137 {
		k.usual = k.usual * 9 / 10 // it runs faster than before
	} else {
		k.killed++
		if tasks {
			k.withTasks++
		}
	}
	noneLeft(k.t, "round %d: killed after %v", round, delay)
}
