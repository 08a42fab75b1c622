package pidns

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const insideEnv = "REGROW_TEST_PIDNS"

// Inside reports whether this process is in the new namespace. If not, it runs the test in
// one and takes over the result, and the caller must return. It is only for top-level tests.
func Inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		if err := mountProc(); err != nil {
			t.Fatal(err)
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const patience = 3 * time.Minute
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name(), "GOCOVERDIR="+t.TempDir())
	out, err := os.Create(filepath.Join(t.TempDir(), "out")) // not a pipe, which a remaining process would keep open
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	// Its end ends all processes in the namespace. It has a session of its own: in the
	// process group of another process it could not end before that is reaped.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true, Pdeathsig: unix.SIGKILL, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		if os.Getenv("REGROW_TEST_ROOT") == "1" {
			t.Fatalf("needs a pid namespace: %v", err)
		}
		t.Skipf("needs a pid namespace: %v", err)
	}
	err = cmd.Wait()
	text, _ := os.ReadFile(out.Name())
	if err != nil || !bytes.Contains(text, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in the pid namespace: %v\n%s", err, text)
	}
	return false
}

// mountProc mounts a /proc of this namespace, visible only in it.
func mountProc() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount", err)
	}
	return os.NewSyscallError("mount /proc", unix.Mount("proc", "/proc", "proc", 0, ""))
}

// Reuse calls start until the started process has the pid of a process that has ended and
// was reaped. The new process starts in a later clock tick. Reuse passes processes with
// other pids to a function that ends them.
func Reuse(t *testing.T, pid int, start func() *exec.Cmd) *exec.Cmd {
	t.Helper()
	time.Sleep(30 * time.Millisecond) //nolint:forbidigo // for a later tick of /proc, which is 10 ms
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatal(err)
		}
		cmd := start()
		if cmd.Process.Pid == pid {
			return cmd
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Fatal(fmt.Errorf("pid %d was not reused", pid))
	return nil
}
