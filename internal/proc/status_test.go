package proc

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCatches asks about processes that do, do not, and are not.
func TestCatches(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if caught, err := self.Catches(unix.SIGUSR1); !caught || err != nil { // the Go runtime does
		t.Errorf("this process: %v, %v", caught, err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sleep, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Error(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if caught, err := sleep.Catches(unix.SIGUSR1); caught || err == nil {
			t.Errorf("nobody: %v, %v", caught, err)
		}
	}()
	if caught, err := sleep.Catches(unix.SIGUSR1); caught || err != nil {
		t.Errorf("sleep: %v, %v", caught, err)
	}
}
