package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// The trees of testdata/cases reproduce problems that users of other restorers and
// supervisors have reported. Each says what happened and where it was reported.

// caseFile copies a case into a new folder, with these files beside it.
func caseFile(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "cases", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(text))
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// eachStrategy runs a test with each strategy.
func eachStrategy(t *testing.T, test func(t *testing.T, strategy string)) {
	for _, s := range restore.Strategies() {
		t.Run(s.String(), func(t *testing.T) { test(t, s.String()) })
	}
}

// TestCaseInheritNotGiven passes a descriptor that the caller does not have. The error
// must name it, nothing must start, and the tree must not get a descriptor of regrow's in
// its place.
func TestCaseInheritNotGiven(t *testing.T) {
	path := caseFile(t, "inherit-not-given", nil)
	for n := 3; n <= 9; n++ {
		res := wait(t, start(t, fmt.Sprintf("exec %d<&-", n), "restore", "--inherit-fd", fmt.Sprintf("given=%d", n), path))
		if want := fmt.Sprintf("--inherit-fd given=%d", n); res.status != 2 || res.out != "" || !strings.Contains(res.errors, want) {
			t.Errorf("%d: status %d, %q, %s", n, res.status, res.out, res.errors)
		}
	}
	noDescendants(t)
}

// TestCaseCallerLeavesSome checks that no task gets other open descriptors of the caller.
func TestCaseCallerLeavesSome(t *testing.T) {
	path := caseFile(t, "caller-leaves-some", nil)
	eachStrategy(t, func(t *testing.T, strategy string) {
		const leave = "exec 3</ 4</ 5</ 6</ 7</ 8</"
		rep := report(t, wait(t, start(t, leave, "restore", "-d", "--json", "--strategy", strategy, path)))
		defer endTree(t)
		for _, p := range prove(wantOf(t, path), rep) {
			t.Error(p)
		}
	})
}

// TestCaseHandedTo2 restores the caller's descriptor 9 as descriptor 2, many times.
func TestCaseHandedTo2(t *testing.T) {
	path := caseFile(t, "handed-to-2", nil)
	nine := filepath.Join(filepath.Dir(path), "nine")
	eachStrategy(t, func(t *testing.T, strategy string) {
		for range 20 {
			res := wait(t, start(t, "exec 9>"+nine, "restore", "--strategy", strategy, "--inherit-fd", "nine=9", path))
			got, err := os.ReadFile(nine)
			if res.status != 0 || res.out != "to-out\n" || res.errors != "" || string(got) != "to-err\n" {
				t.Fatalf("status %d, standard output %q, standard error %q, 9 has %q, %v", res.status, res.out, res.errors, got, err)
			}
		}
	})
	noDescendants(t)
}

// TestCaseFixedHelperRange has descriptors at the numbers where other restorers keep
// helpers.
func TestCaseFixedHelperRange(t *testing.T) {
	res := run(t, "conflicts", "--run", caseFile(t, "fixed-helper-range", nil))
	if n := strings.Count(res.out, "  holds  as predicted\n"); res.status != 0 || n != len(restore.Strategies()) {
		t.Errorf("status %d: %s%s", res.status, res.out, res.errors)
	}
	noDescendants(t)
}

// TestCaseOpenedTwice checks that two open files of one inode are not merged.
func TestCaseOpenedTwice(t *testing.T) {
	path := caseFile(t, "opened-twice", map[string]string{"data.bin": "0123456789"})
	eachStrategy(t, func(t *testing.T, strategy string) {
		rep := detached(t, path, "--strategy", strategy)
		for _, p := range prove(wantOf(t, path), rep) {
			t.Error(p)
		}
		endTree(t)
	})
}

// TestCaseSizeOfAnEmptyPipe checks the capacities of pipes.
func TestCaseSizeOfAnEmptyPipe(t *testing.T) {
	rep := detached(t, caseFile(t, "size-of-an-empty-pipe", nil))
	for n, want := range map[int]int{3: 131072, 4: 131072, 5: 8192, 6: 4096} {
		end, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", rep.Tasks[0].HostPID, n), os.O_RDWR|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unix.FcntlInt(end.Fd(), unix.F_GETPIPE_SZ, 0); got != want || err != nil {
			t.Errorf("fd %d: %d bytes, want %d (%v)", n, got, want, err)
		}
		_ = end.Close()
	}
}

// TestCaseLastWriter checks that only the writer keeps a pipe open: the reader must see
// end of file, and the idle task is ended with the tree.
func TestCaseLastWriter(t *testing.T) {
	path := caseFile(t, "last-writer", nil)
	eachStrategy(t, func(t *testing.T, strategy string) {
		res := run(t, "restore", "--strategy", strategy, path)
		if res.status != 0 || res.out != "left over\nfrom the writer\n" || res.errors != "" {
			t.Errorf("status %d: %q %s", res.status, res.out, res.errors)
		}
		noDescendants(t)
	})
}

// TestCaseWatchedFiles watches files by inotify while a tree is restored: each open file
// must cause one open and no other event.
func TestCaseWatchedFiles(t *testing.T) {
	path := caseFile(t, "watched-files", map[string]string{"conf": "c", "log": "l"})
	eachStrategy(t, func(t *testing.T, strategy string) {
		watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(watch)
		names := map[int32]string{}
		for _, name := range []string{"conf", "log"} {
			wd, err := unix.InotifyAddWatch(watch, filepath.Join(filepath.Dir(path), name), unix.IN_ALL_EVENTS)
			if err != nil {
				t.Fatal(err)
			}
			names[int32(wd)] = name
		}
		detached(t, path, "--strategy", strategy)
		opened := map[string]int{}
		for _, e := range events(t, watch) {
			if e.Mask != unix.IN_OPEN {
				t.Errorf("%s: event %#x", names[e.Wd], e.Mask)
			}
			opened[names[e.Wd]]++
		}
		if opened["conf"] != 1 || opened["log"] != 1 {
			t.Errorf("opened: %v", opened)
		}
		endTree(t)
	})
}

// events reads the inotify events up to now.
func events(t *testing.T, watch int) (all []unix.InotifyEvent) {
	t.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Read(watch, buf)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	for r := bytes.NewReader(buf[:max(n, 0)]); r.Len() > 0; {
		var e unix.InotifyEvent
		if err := binary.Read(r, binary.NativeEndian, &e); err != nil {
			t.Fatal(err)
		}
		_, _ = r.Seek(int64(e.Len), io.SeekCurrent) // the name, which is empty for a watched file
		all = append(all, e)
	}
	return all
}

// TestCaseLockOfTheCaller checks that a lock of the caller is released when a detached
// restore has returned, unless the tree inherits its descriptor.
func TestCaseLockOfTheCaller(t *testing.T) {
	path := caseFile(t, "lock-of-the-caller", nil)
	lock := filepath.Join(filepath.Dir(path), "lock")
	free := func() bool { return exec.Command("flock", "-n", lock, "true").Run() == nil }
	if _, err := exec.LookPath("flock"); err != nil {
		need(t, "flock")
	}
	eachStrategy(t, func(t *testing.T, strategy string) {
		shell := fmt.Sprintf(`exec flock -n %s "$0" "$@"`, lock)
		report(t, wait(t, start(t, shell, "restore", "-d", "--json", "--strategy", strategy, path)))
		if !free() {
			t.Error("the tree has the lock")
		}
		endTree(t)
	})
	handed := write(t, "version: 1\nfiles: {lock: {type: inherit, key: lock}}\ntasks: [{name: a, fds: {5: lock}}]\n")
	report(t, wait(t, start(t, "exec 7<"+lock+"; flock -n 7", "restore", "-d", "--json", "--inherit-fd", "lock=7", handed)))
	if free() {
		t.Error("the tree inherits the descriptor, but the lock is free")
	}
	endTree(t)
	if !free() {
		t.Error("the tree has ended, and the lock is not free")
	}
}

// TestCaseNonblockOfTheCaller reads the flags of an inherited open file, while a tree is
// restored, runs and has ended.
func TestCaseNonblockOfTheCaller(t *testing.T) {
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	path := caseFile(t, "nonblock-of-the-caller", nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	master, _, slave := openTerminal(t)
	defer master.Close()
	defer slave.Close()
	go func() { _, _ = io.Copy(io.Discard, master) }()
	// Fd clears the flag, as package exec does, so it is called before the check.
	given := [3]uintptr{r.Fd(), w.Fd(), slave.Fd()}
	flags := func() (all [3]int) {
		for i, fd := range given {
			all[i], _ = unix.FcntlInt(fd, unix.F_GETFL, 0)
		}
		return all
	}
	for _, args := range [][]string{{"restore"}, {"restore", "-d"}, {"restore", "--timeout", "1ns"}} {
		cmd := exec.Command(regrow, append(args, path)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = r, w, slave
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		before := flags()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for over := false; !over; {
			select {
			case <-ended:
				over = true
			default:
			}
			if now := flags(); now != before {
				t.Fatalf("%v: flags %#o, before %#o", args, now, before)
			}
		}
		endTree(t)
	}
}
