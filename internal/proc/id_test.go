package proc

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/pidns"
)

// parent starts a process that has a child.
func parent(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 1000 & wait")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// idOf returns the process of a command, once it has a child.
func idOf(t *testing.T, cmd *exec.Cmd) ID {
	t.Helper()
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(Descendants(id)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no child")
		}
	}
	return id
}

// finish kills a command and its child, and waits.
func finish(t *testing.T, cmd *exec.Cmd, id ID) {
	t.Helper()
	for _, p := range append(Descendants(id), Status{ID: id}) {
		if err := p.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	_ = cmd.Wait()
}

// strangers is what must not happen to a process that has the number of another one.
func strangers(t *testing.T) {
	first := parent(t)
	gone := idOf(t, first)
	if !gone.Exists() || !gone.Lives() {
		t.Error("a process that lives does not")
	}
	child := Descendants(gone)[0]
	if got := Descendants(gone); len(got) != 1 || got[0].ID != child.ID || got[0].Parent != gone.PID || got[0].Threads != 1 {
		t.Errorf("descendants: %+v", got)
	}
	finish(t, first, gone)
	if gone.Exists() || gone.Lives() {
		t.Error("a process that was waited for is there")
	}
	cmd := pidns.Reuse(t, gone.PID, func() *exec.Cmd { return parent(t) })
	now := idOf(t, cmd)
	if now.PID != gone.PID || now == gone {
		t.Fatalf("%v after %v", now, gone)
	}
	if gone.Exists() || gone.Lives() || len(Descendants(gone)) > 0 || len(Descendants(gone)) > 0 {
		t.Error("another process is taken for one that has ended")
	}
	if _, err := gone.Catches(unix.SIGCHLD); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what it catches: %v", err)
	}
	if err := gone.Signal(unix.SIGKILL); !errors.Is(err, unix.ESRCH) {
		t.Errorf("a signal to it: %v, want ESRCH", err)
	}
	if !now.Lives() {
		t.Fatal("the signal has reached another process")
	}
	children := Descendants(now)
	if err := now.Signal(unix.SIGKILL); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); now.Lives(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a killed process lives on")
		}
	}
	gone.Reap()
	if !now.Exists() {
		t.Error("somebody has taken another process's status")
	}
	now.Reap()
	if now.Exists() {
		t.Error("its own status is left")
	}
	_ = cmd.Wait() // the status was taken
	for _, p := range children {
		if err := p.Signal(unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

func TestReusedNumber(t *testing.T) {
	if pidns.Inside(t) {
		strangers(t)
	}
}

// TestReusedNumberWithoutPIDFD does the same where a sandbox refuses pidfds.
func TestReusedNumberWithoutPIDFD(t *testing.T) {
	if pidns.Inside(t) {
		refuse(t, unix.EPERM, unix.SYS_PIDFD_OPEN)
		strangers(t)
	}
}

// TestReusedNumberWithoutSignals does so where it refuses only signals by them.
func TestReusedNumberWithoutSignals(t *testing.T) {
	if pidns.Inside(t) {
		refuse(t, unix.ENOSYS, unix.SYS_PIDFD_SEND_SIGNAL)
		strangers(t)
	}
}

// TestNobody asks about processes that are none.
func TestNobody(t *testing.T) {
	for _, id := range []ID{{}, {PID: 1 << 30}, {PID: os.Getpid()}} { // the last one began at another time
		if id.Exists() || id.Lives() || len(Descendants(id)) > 0 {
			t.Errorf("%v is there", id)
		}
		if err := id.Signal(unix.SIGKILL); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("%v: %v", id, err)
		}
	}
	if _, err := Of(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
}

// TestParseStat reads names that look like the rest of the line.
func TestParseStat(t *testing.T) {
	const rest = " R 7 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 4711 99"
	for _, name := range []string{"sh", "a b", "x) Z 9 (y", ")", ""} {
		s, ok := parseStat([]byte("12 (" + name + ")" + rest))
		if !ok || s.State != 'R' || s.Parent != 7 || s.Threads != 3 || s.Began != 4711 {
			t.Errorf("%q: %+v, %v", name, s, ok)
		}
	}
	for _, text := range []string{"", "12 (sh", "12 (sh) R", "12 (sh) R x 1"} {
		if s, ok := parseStat([]byte(text)); ok {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

// TestMissed lists the children of this process while others of them go: the one that
// stays is among them, or the list says that it may not be whole.
func TestMissed(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // children are listed by the thread that has started them
	defer runtime.UnlockOSThread()
	hidden := 0
	for range 3 {
		var ends []*exec.Cmd
		for range 20 {
			cmd := exec.Command("true")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, cmd)
		}
		stays := exec.Command("sleep", "1000")
		if err := stays.Start(); err != nil {
			t.Fatal(err)
		}
		gone := make(chan bool)
		go func() {
			defer close(gone)
			for _, cmd := range ends {
				_ = cmd.Wait()
			}
		}()
		for going := true; going; {
			select {
			case <-gone:
				going = false
			default:
			}
			all, missed := Children(self)
			there := slices.ContainsFunc(all, func(s Status) bool { return s.PID == stays.Process.Pid })
			switch {
			case there:
			case missed == 0:
				t.Errorf("process %d is not among %d children, and none was missed", stays.Process.Pid, len(all))
			default:
				hidden++
			}
		}
		_ = stays.Process.Kill()
		_ = stays.Wait()
	}
	t.Logf("the child was hidden %d times", hidden)
}
