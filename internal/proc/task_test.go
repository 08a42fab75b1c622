package proc

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseFDInfo(t *testing.T) {
	got, err := parseFDInfo([]byte("pos:\t12\nflags:\t0102002\nmnt_id:\t27\nino:\t99\neventfd-id: 4\n"))
	if err != nil || got.Pos != 12 || got.Flags != 0o102002 || got.Mount != 27 || got.Inode != 99 || got.Field("eventfd-id") != "4" || got.Field("tfd") != "" {
		t.Errorf("%+v, %v", got, err)
	}
	old, err := parseFDInfo([]byte("pos:\t0\nflags:\t02\nmnt_id:\t9\n")) // before Linux 5.14
	if err != nil || old.Inode != 0 || old.Mount != 9 {
		t.Errorf("%+v, %v", old, err)
	}
	for _, bad := range []string{"", "pos:\t0\n", "pos:\tx\nflags:\t02\n", "pos:\t0\nflags:\t09\n"} {
		if got, err := parseFDInfo([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

// TestCopyFD checks that a copy is the same open file, and that the fdinfo of the
// caller's is read by what number it has here.
func TestCopyFD(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := CopyFD(self, pipe[1])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	info, err := ReadFDInfo(Caller, fd)
	if err != nil || info.Flags&unix.O_ACCMODE != unix.O_WRONLY || info.Flags&unix.O_NONBLOCK == 0 {
		t.Errorf("%+v, %v", info, err)
	}
	var st unix.Statx_t
	if err := Statx(self.PID, pipe[0], &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("mode %#o, %v", st.Mode, err)
	}
	if _, err := CopyFD(self, 1<<20); !errors.Is(err, unix.EBADF) {
		t.Errorf("a number that is not open: %v", err)
	}
}

func TestTask(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.Dir, cmd.Env = "/", []string{"A=b c", "EMPTY="}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	self, err := Look(os.Getpid())
	if err != nil || !slices.Contains(ChildPIDs(self), pid) {
		t.Errorf("%d is not among %v (%v)", pid, ChildPIDs(self), err)
	}
	want := []string{"sleep", "1000"}
	got, err := Arguments(pid)
	for deadline := time.Now().Add(time.Minute); err == nil && !slices.Equal(got, want) && time.Now().Before(deadline); got, err = Arguments(pid) {
		time.Sleep(time.Millisecond) // execve(2) lets this process go on before it has them: it has this one's, or none
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("arguments %q, %v", got, err)
	}
	if got, err := Environment(pid); err != nil || !slices.Equal(got, cmd.Env) {
		t.Errorf("environment %q, %v", got, err)
	}
	if got, err := Cwd(pid); err != nil || got != "/" {
		t.Errorf("cwd %q, %v", got, err)
	}
	if got, err := PIDs(pid); err != nil || len(got) == 0 || got[0] != pid {
		t.Errorf("pids %v, %v", got, err)
	}
	ours, err := Namespace(os.Getpid(), "pid")
	if theirs, err2 := Namespace(pid, "pid"); err != nil || err2 != nil || ours != theirs {
		t.Errorf("namespaces %q, %q, %v, %v", ours, theirs, err, err2)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := Look(pid); !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrHidden) {
		t.Errorf("gone: %v", err)
	}
	if errors.Is(ErrHidden, os.ErrNotExist) || !errors.Is(ErrHidden, os.ErrPermission) {
		t.Error("hidden must not be taken for gone")
	}
	kinds, err := MountKinds()
	if err != nil || kinds["/proc"] != "proc" {
		t.Errorf("mounts %v, %v", kinds, err)
	}
}
