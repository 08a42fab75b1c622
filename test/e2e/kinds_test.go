package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore"
	"regrow/tasktree/kind"
)

// exampleTree gives the example of a kind as a tree of two tasks that have all of its open
// files, at different numbers, and the numbers by name.
func exampleTree(t *testing.T, k kind.Kind) (text string, first, second map[string]int) {
	t.Helper()
	files := "version: 1\nfiles:\n"
	for line := range strings.Lines(k.Example) {
		files += "  " + line
	}
	tree, err := images.Decode(strings.NewReader(files+"tasks: [{name: root}]\n"), k.Name, "")
	if err != nil {
		t.Fatal(err)
	}
	first, second = map[string]int{}, map[string]int{}
	var here, there []string
	for _, f := range tree.Files {
		for end := range max(1, len(f.Spec.Ends())) {
			name := f.EndName(end)
			first[name], second[name] = 3+len(here), 200-7*len(here)
			here = append(here, fmt.Sprintf("%d: %s", first[name], name))
			there = append(there, fmt.Sprintf("%d: {file: %s, cloexec: true}", second[name], name))
		}
	}
	return fmt.Sprintf("%stasks:\n  - name: first\n    fds: {%s}\n    children:\n      - name: second\n        fds: {%s}\n",
		files, strings.Join(here, ", "), strings.Join(there, ", ")), first, second
}

// TestExamplesOfKinds restores the example of each kind in two tasks, with each strategy,
// and holds by kcmp that each open file is one, and by regrow verify that each key is as
// described.
func TestExamplesOfKinds(t *testing.T) {
	needRoot(t)
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		if k.Example == "" {
			continue
		}
		for _, strategy := range restore.Strategies() {
			t.Run(name+"/"+strategy.String(), func(t *testing.T) {
				text, first, second := exampleTree(t, k)
				rep := detached(t, write(t, text), "--strategy", strategy.String())
				one, two := rep.Tasks[0].HostPID, rep.Tasks[1].HostPID
				for name, fd := range first {
					if same, err := sameFile(one, fd, two, second[name]); err != nil || !same {
						t.Errorf("%s: fd %d of the first task is not fd %d of the second: %v", name, fd, second[name], err)
					}
					for other, there := range second {
						if same, err := sameFile(one, fd, two, there); other != name && (err != nil || same) {
							t.Errorf("%s is the open file of %s: %v", name, other, err)
						}
					}
				}
			})
		}
	}
}

// TestExamplesByUsers restores the examples of kinds as users without privileges.
func TestExamplesByUsers(t *testing.T) {
	for _, u := range users(t) {
		if u.id == 0 {
			continue
		}
		for _, name := range kind.Names() {
			k, _ := kind.Lookup(name)
			if k.Example == "" {
				continue
			}
			t.Run(name+" by "+u.name, func(t *testing.T) {
				text, first, second := exampleTree(t, k)
				path := save(t, openFolder(t), text)
				rep := report(t, wait(t, start(t, u.shell, "restore", "-d", "--json", path)))
				defer endTree(t)
				for name, fd := range first {
					if same, err := sameFile(rep.Tasks[0].HostPID, fd, rep.Tasks[1].HostPID, second[name]); err != nil || !same {
						t.Errorf("%s is not one open file: %v", name, err)
					}
				}
				verifyRight(t, path, rep)
			})
		}
	}
}

// openFileOf restores a tree of one task that holds, with one open file at 5, and gives
// the task's pid and a copy of the descriptor.
func openFileOf(t *testing.T, files, name string) (pid, fd int) {
	t.Helper()
	rep := detached(t, write(t, "version: 1\nfiles:\n"+files+"\ntasks: [{name: a, fds: {5: "+name+"}}]\n"))
	pid = rep.Tasks[0].HostPID
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if fd, err = unix.PidfdGetfd(pidfd, 5, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return pid, fd
}

// statusFlags are the flags of an open file, without those that the kernel adds.
func statusFlags(t *testing.T, fd int) int {
	t.Helper()
	const large = 0o100000
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags &^ large
}

func readNumber(fd int) (uint64, error) {
	var b [8]byte
	n, err := unix.Read(fd, b[:])
	if err == nil && n != len(b) {
		err = fmt.Errorf("%d bytes", n)
	}
	return binary.NativeEndian.Uint64(b[:]), err
}

// TestEventfd holds what the kernel says of a restored eventfd, and what a read takes.
func TestEventfd(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys    string
		counter uint64
		flags   int
	}{
		{"", 0, 0},
		{", counter: 7", 7, 0},
		{", counter: 4294967295, flags: [O_NONBLOCK]", 1<<32 - 1, unix.O_NONBLOCK},
		{", counter: 4294967296, flags: [O_APPEND, O_NOATIME]", 1 << 32, unix.O_APPEND | unix.O_NOATIME},
		{", counter: 18446744073709551614", 1<<64 - 2, 0},
	} {
		t.Run("an eventfd"+c.keys, func(t *testing.T) {
			pid, fd := openFileOf(t, "  e: {type: eventfd"+c.keys+"}", "e")
			info, err := fdinfo(pid, 5)
			if err != nil {
				t.Fatal(err)
			}
			if got := info["eventfd-count"]; got != fmt.Sprintf("%x", c.counter) {
				t.Errorf("the kernel shows %s in it, want %x", got, c.counter)
			}
			if got := statusFlags(t, fd) &^ unix.O_RDWR; got != c.flags {
				t.Errorf("flags %#o, want %#o", got, c.flags)
			}
			if err := unix.SetNonblock(fd, true); err != nil {
				t.Fatal(err)
			}
			got, err := readNumber(fd)
			if c.counter == 0 && !errors.Is(err, unix.EAGAIN) || c.counter > 0 && (err != nil || got != c.counter) {
				t.Errorf("read %d, %v, want %d", got, err, c.counter)
			}
		})
	}
}

// TestSemaphore holds that reads of a restored semaphore take 1, as often as there is
// one: what CRIU 4.2 loses.
func TestSemaphore(t *testing.T) {
	needRoot(t)
	_, fd := openFileOf(t, "  e: {type: eventfd, counter: 3, semaphore: true, flags: [O_NONBLOCK]}", "e")
	for i := range 3 {
		if got, err := readNumber(fd); err != nil || got != 1 {
			t.Errorf("read %d gives %d, %v", i, got, err)
		}
	}
	if _, err := readNumber(fd); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a fourth read: %v", err)
	}
}

// usesEnv makes the test binary a program that uses what it has been given as 3.
const usesEnv = "REGROW_TEST_USES"

func use(what string, _ []string) error {
	const given = 3
	switch what {
	case "signalfd":
		return useSignals(given)
	default:
		return fmt.Errorf("unknown use %q", what)
	}
}

// useSignals sends a thread of this process a signal that it blocks, and says what came
// out of a signalfd.
func useSignals(fd int) error {
	runtime.LockOSThread()
	mask := unix.Sigset_t{Val: [16]uint64{1 << (unix.SIGUSR1 - 1)}}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil); err != nil {
		return err
	}
	if err := unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR1); err != nil {
		return err
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds())); n != 1 {
		return fmt.Errorf("no signal has come: %w", err)
	}
	info := make([]byte, 128) // struct signalfd_siginfo
	if n, err := unix.Read(fd, info); err != nil || n != len(info) {
		return fmt.Errorf("read %d bytes: %w", n, err)
	}
	from := "somebody else"
	if binary.NativeEndian.Uint32(info[12:]) == uint32(os.Getpid()) { // ssi_pid
		from = "itself"
	}
	fmt.Printf("%s from %s\n", unix.SignalName(unix.Signal(binary.NativeEndian.Uint32(info))), from)
	return nil
}

// TestSignalfd holds what the kernel says of a restored signalfd.
func TestSignalfd(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		keys  string
		mask  string
		flags int
	}{
		{"signals: []", "0000000000000000", 0},
		{"signals: [SIGHUP], flags: [O_NONBLOCK]", "0000000000000001", unix.O_NONBLOCK},
		{"signals: [SIGRTMAX, SIGUSR1, SIGRTMIN, SIG32], flags: [O_APPEND]", "8000000280000200", unix.O_APPEND},
	} {
		t.Run(c.keys, func(t *testing.T) {
			pid, fd := openFileOf(t, "  s: {type: signalfd, "+c.keys+"}", "s")
			info, err := fdinfo(pid, 5)
			if err != nil || info["sigmask"] != c.mask {
				t.Errorf("the kernel shows the signals %s, want %s: %v", info["sigmask"], c.mask, err)
			}
			if got := statusFlags(t, fd) &^ unix.O_RDWR; got != c.flags {
				t.Errorf("flags %#o, want %#o", got, c.flags)
			}
		})
	}
}
