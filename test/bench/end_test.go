package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// burnEnv is the variable that makes the test binary use a processor for a while, and write
// its processor time in nanoseconds to this file.
const burnEnv = "REGROW_TEST_BURN"

func TestMain(m *testing.M) {
	if path := os.Getenv(burnEnv); path != "" {
		if err := burn(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func burn(path string) error {
	const enough = int64(20 * time.Millisecond)
	var u unix.Rusage
	for u.Utime.Nano()+u.Stime.Nano() < enough {
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(strconv.FormatInt(u.Utime.Nano()+u.Stime.Nano(), 10)), 0o600)
}

// ended runs a shell that writes "ready" to a file and waits, and returns the result of end
// for it. A shell has one thread, like a task.
func ended(t *testing.T, script string) int64 {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	cmd := exec.Command("sh", "-c", script+`; echo ready >"$1"; read x`, self, ready)
	cmd.Env = append(os.Environ(), burnEnv+"="+filepath.Join(dir, "burned"), "GOCOVERDIR="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			t.Fatal("the shell does not get ready")
		}
	}
	reaped, err := end(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "burned"))
	if err != nil {
		return reaped
	}
	burned, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("burned %d ns, reaped %d ns", burned, reaped)
	if reaped < burned {
		t.Errorf("the process that was reaped had %d ns, end says %d", burned, reaped)
	}
	return reaped
}

// TestReaped checks that the time of a process that an ended one has reaped is counted, and
// that nothing is counted without one.
func TestReaped(t *testing.T) {
	if got := ended(t, "true"); got != 0 {
		t.Errorf("a process without children has reaped %d ns", got)
	}
	if got := ended(t, `"$0"`); got == 0 {
		t.Error("nothing is known of the process that was reaped")
	}
	if got := ended(t, `sh -c '"$0"' "$0"`); got == 0 {
		t.Error("nothing is known of the process that was reaped by one that was")
	}
}
