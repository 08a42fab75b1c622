package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"regrow/images"
	"regrow/restore"
	"regrow/tasktree"
	"regrow/test/rounds"
)

// The largest cost of 1 MiB.
const (
	// maxTimes is the limit of processor time relative to the reference: wall time
	// would depend on the machine and its load. The most expensive shapes take 3 or 4
	// times as long; quadratic ones take hundreds.
	maxTimes  = 6
	maxMemory = 200 << 10 // KiB, of the whole process
)

// Variables that make the test binary a helper.
const (
	descriptionEnv = "REGROW_TEST_DESCRIPTION" // wholeWay, with this file
	referenceEnv   = "REGROW_TEST_REFERENCE"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(descriptionEnv); path != "" {
		os.Exit(wholeWay(path))
	}
	if os.Getenv(referenceEnv) != "" {
		os.Exit(reference())
	}
	os.Exit(m.Run())
}

// reference is similar work without code of regrow: yaml.v3 reads a plain document of
// 1 MiB.
func reference() int {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(same("", "- {name: task, fds: {0: null, 1: out}}\n", "")), &doc); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return tellMemory()
}

// wholeWay decodes, plans and verifies a description, or prints the error. The status is
// that of regrow.
func wholeWay(path string) int {
	err := plan(path)
	if err != nil {
		fmt.Println(err)
	}
	if status := tellMemory(); status != 0 {
		return status
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

// tellMemory writes the peak memory of this process. The value of wait4 would include the
// memory of the parent before exec.
func tellMemory() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Fprint(os.Stderr, line)
		}
	}
	return 0
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

// TestCosts compares the cost of each shape with that of the reference, each in a process of
// its own.
func TestCosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree.yaml")
	usual := measure(t, referenceEnv, "1").time
	shapes := slices.Concat(broken(), wrong(), valid())
	drawn := rounds.Draw(t, len(shapes), 0, 20)
	for i, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			drawn.Need(t, i)
			if len(s.text) > size || len(s.text) < size/100 && !strings.Contains(s.name, "bomb") {
				t.Fatalf("%d bytes", len(s.text))
			}
			if err := os.WriteFile(path, []byte(s.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cost := measure(t, descriptionEnv, path)
			ratio := float64(cost.time) / float64(usual)
			if ratio > maxTimes/2 {
				// Near the limit, so measure again together with the reference.
				ratio = measurePairs(t, path)
			}
			t.Logf("%v, %.1f times the reference, %d MiB, status %d", cost.time, ratio, cost.memory>>10, cost.status)
			if ratio > maxTimes || cost.memory > maxMemory {
				t.Errorf("costs %.1f times the reference and %d MiB, want at most %d and %d", ratio, cost.memory>>10, maxTimes, maxMemory>>10)
			}
		})
	}
}

// measurePairs runs the reference and a description in turn, and returns the median of the
// ratios of adjacent runs: other load affects both.
func measurePairs(t *testing.T, path string) float64 {
	t.Helper()
	ratios := make([]float64, 5)
	for i := range ratios {
		reference := measure(t, referenceEnv, "1")
		ratios[i] = float64(measure(t, descriptionEnv, path).time) / float64(reference.time)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

type cost struct {
	time   time.Duration // processor time
	memory int64         // KiB
	status int
}

// hung is how long one process may take; longer means that it is in a loop.
const hung = 5 * time.Minute

// measure runs the test binary as the helper that a variable selects.
func measure(t *testing.T, variable, value string) cost {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	// GOGC as regrow sets it, see cmd/regrow/goruntime.go. With more processors the
	// garbage collector uses more processor time.
	cmd.Env = append(os.Environ(), variable+"="+value, "GOGC=50", "GOMAXPROCS=2", "GOCOVERDIR="+t.TempDir())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	_ = cmd.Run() // ProcessState has the status
	state := cmd.ProcessState
	if state == nil || state.ExitCode() != 0 && state.ExitCode() != 2 {
		t.Fatalf("%v: %s", state, stderr.String())
	}
	c := cost{time: state.UserTime() + state.SystemTime(), status: state.ExitCode()}
	if _, err := fmt.Sscanf(stderr.String(), "VmHWM: %d kB", &c.memory); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return c
}
