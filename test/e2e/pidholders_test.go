package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// heldNumber is a pid that is in use, and the expected message.
type heldNumber struct {
	pid  int
	want string
}

// leaderless starts a shell as the leader of a session, or only of a process group. The
// shell leaves a child in it and ends. leaderless returns the leader's pid, which is still
// in use.
func leaderless(t *testing.T, session bool) (leader, member int) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// The member reads from a pipe that this test keeps open until its end.
	hold, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	cmd := exec.Command("sh", "-c", "cat <&3 >/dev/null & echo $!; exec 3<&-")
	cmd.Stdout, cmd.ExtraFiles = in, []*os.File{hold}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: session, Setpgid: !session}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		release.Close()
		if member > 0 {
			within(t, "end of the member", func() bool {
				_, _ = unix.Wait4(member, nil, unix.WNOHANG, nil) // the orphan may be a child of this process
				return unix.Kill(member, 0) != nil
			})
		}
	})
	in.Close()
	text := make([]byte, 32)
	n, _ := out.Read(text)
	if member, err = strconv.Atoi(string(bytes.TrimSpace(text[:n]))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, member
}

// TestHolders checks that the message explains who has a pid: the kernel's error is the
// same in all cases.
func TestHolders(t *testing.T) {
	needRoot(t)
	me, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	comm := strings.TrimSpace(string(me))
	var held []heldNumber

	living := exec.Command("cat")
	input, err := living.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := living.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		input.Close()
		_ = living.Wait()
	}()
	held = append(held, heldNumber{living.Process.Pid, `in use by "cat"`})

	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zombie.Wait() }()
	within(t, "a zombie", func() bool { return stateOf(zombie.Process.Pid) == "Z" })
	held = append(held, heldNumber{zombie.Process.Pid, fmt.Sprintf("in use by %q, which has ended and was not waited for by its parent %q (pid %d)", "true", comm, os.Getpid())})

	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	thread, err := strconv.Atoi(threads[len(threads)-1].Name())
	if err != nil || thread == os.Getpid() {
		t.Fatalf("no thread but the first: %v", err)
	}
	held = append(held, heldNumber{thread, fmt.Sprintf("in use by %q, a thread of %q (pid %d)", comm, comm, os.Getpid())})

	leader, member := leaderless(t, true)
	held = append(held, heldNumber{leader, fmt.Sprintf("in use as the session of %q (pid %d), whose leader has ended", "cat", member)})
	leader, member = leaderless(t, false)
	held = append(held, heldNumber{leader, fmt.Sprintf("in use as the process group of %q (pid %d), whose leader has ended", "cat", member)})

	for _, h := range held {
		for _, tree := range []string{
			"tasks: [{name: a, pid: %d}]",
			"tasks: [{name: a, children: [{name: b, pid: %d}]}]",
		} {
			path := write(t, "version: 1\n"+fmt.Sprintf(tree, h.pid)+"\n")
			res := wait(t, start(t, "", "restore", path))
			if res.status != 125 || !strings.Contains(res.errors, fmt.Sprintf("(pid %d is %s)", h.pid, h.want)) {
				t.Errorf("want (pid %d is %s): status %d: %s", h.pid, h.want, res.status, res.errors)
			}
		}
	}
}
