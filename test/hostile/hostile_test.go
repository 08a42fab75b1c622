package hostile

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"regrow/images"
	"regrow/restore"
	"regrow/tasktree"
)

// What 1 MiB may cost at most.
const (
	maxTime   = time.Second // of processors, not of the clock
	maxMemory = 200 << 10   // KiB, of the whole process
)

const descriptionEnv = "REGROW_TEST_DESCRIPTION"

func TestMain(m *testing.M) {
	if path := os.Getenv(descriptionEnv); path != "" {
		os.Exit(wholeWay(path))
	}
	os.Exit(m.Run())
}

// wholeWay goes from a description to a verified plan, or to the message. The
// status is as regrow's.
func wholeWay(path string) int {
	err := plan(path)
	if err != nil {
		fmt.Println(err)
	}
	// Not what wait4 tells: that of a forked process begins with its parent's.
	status, statusErr := os.ReadFile("/proc/self/status")
	if statusErr != nil {
		fmt.Fprintln(os.Stderr, statusErr)
		return 1
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Fprint(os.Stderr, line)
		}
	}
	var invalid *tasktree.InvalidError
	var refused *restore.RefusedError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &invalid), errors.As(err, &refused):
		return 2
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func plan(path string) error {
	tree, err := images.Load(path)
	if err != nil {
		return err
	}
	host := restore.Host{SoftFiles: 1 << 20, HardFiles: 1 << 20, Environ: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, Cwd: "/"}
	p, err := restore.NewPlan(tree, host, restore.PlanOptions{})
	if err != nil {
		return err
	}
	return p.Verify()
}

// TestCosts measures what each shape costs a process of its own.
func TestCosts(t *testing.T) {
	dir := t.TempDir()
	for _, s := range slices.Concat(broken(), wrong(), valid()) {
		t.Run(s.name, func(t *testing.T) {
			if len(s.text) > size || len(s.text) < size/100 && !strings.Contains(s.name, "bomb") {
				t.Fatalf("%d bytes", len(s.text))
			}
			path := filepath.Join(dir, "tree.yaml")
			if err := os.WriteFile(path, []byte(s.text), 0o600); err != nil {
				t.Fatal(err)
			}
			// Processors that others use, too, make each step take longer: the
			// best of a few runs counts.
			cost := measure(t, path)
			for tries := 1; cost.time > maxTime && tries < 8; tries++ {
				cost = measure(t, path)
			}
			t.Logf("%v, %d MiB, status %d", cost.time, cost.memory>>10, cost.status)
			if cost.time > maxTime || cost.memory > maxMemory {
				t.Errorf("costs %v and %d MiB", cost.time, cost.memory>>10)
			}
		})
	}
}

type cost struct {
	time   time.Duration
	memory int64 // KiB
	status int
}

func measure(t *testing.T, path string) cost {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	// As regrow sets it, see cmd/regrow/tune.go.
	cmd.Env = append(os.Environ(), descriptionEnv+"="+path, "GOGC=50", "GOCOVERDIR="+t.TempDir())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	timer := time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the status says it
	state := cmd.ProcessState
	if code := state.ExitCode(); code != 0 && code != 2 {
		t.Fatalf("%v: %s", state, stderr.String())
	}
	c := cost{time: state.UserTime() + state.SystemTime(), status: state.ExitCode()}
	if _, err := fmt.Sscanf(stderr.String(), "VmHWM: %d kB", &c.memory); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return c
}
