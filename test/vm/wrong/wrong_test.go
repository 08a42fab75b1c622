package wrong

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needMachine skips a test unless TestMachines of test/vm has started this machine for it.
func needMachine(t *testing.T) {
	t.Helper()
	if os.Getenv("REGROW_TEST_WRONG") != "1" {
		t.Skip("goes wrong on purpose, in a machine that test/vm starts for it")
	}
}

func TestWell(t *testing.T) {
	needMachine(t)
}

// TestPanic makes the kernel panic, as a bug in it would.
func TestPanic(t *testing.T) {
	needMachine(t)
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0o200); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
}

// TestLost ends the process in the middle of a test, with status 0.
func TestLost(t *testing.T) {
	needMachine(t)
	unix.Exit(0)
}

// TestLeaves leaves a process.
func TestLeaves(t *testing.T) {
	needMachine(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestStays$")
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func TestStays(t *testing.T) {
	needMachine(t)
	time.Sleep(time.Minute)
}

// TestSilence stops the machine's first process, so that the machine sends nothing.
func TestSilence(t *testing.T) {
	needMachine(t)
	// The first process ignores signals without a handler, but a cgroup's freezer stops
	// it.
	dir := "/sys/fs/cgroup/frozen"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/cgroup.procs", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/cgroup.freeze", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
}
