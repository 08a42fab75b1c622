package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// manyPipes describes n pipes with these keys, all of one task.
func manyPipes(n int, keys string) string {
	var files, fds strings.Builder
	for i := range n {
		fmt.Fprintf(&files, "  p%d: {type: pipe%s}\n", i, keys)
		fmt.Fprintf(&fds, "%d: p%d.r, ", i, i)
	}
	return "version: 1\nfiles:\n" + files.String() + "tasks: [{name: a, fds: {" + fds.String() + "}}]\n"
}

// pagesOfPipes returns how many pages all pipes of a user may have without privileges.
func pagesOfPipes(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/fs/pipe-user-pages-soft")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if pages == 0 || pages > 1<<15 {
		need(t, "fs.pipe-user-pages-soft of 32768 at most")
	}
	return pages
}

// aNewUser returns shell words that run the following command as a user who has no pipes.
func aNewUser() string {
	return fmt.Sprintf("ulimit -c 0; set -- --reuid %d --regid 61237 --clear-groups \"$0\" \"$@\"; exec setpriv \"$@\"", nobodyElse())
}

const defaultPages = 16 // of a pipe

// pipesEnv is the variable that makes the test binary hold a number of pipes as a user.
const pipesEnv = "REGROW_TEST_PIPES"

// holdPipes makes the pipes, prints a line, and keeps them until its input ends.
func holdPipes(what string, _ []string) error {
	var uid, pipes int
	if _, err := fmt.Sscan(what, &uid, &pipes); err != nil {
		return err
	}
	if err := syscall.Setuid(uid); err != nil { // of all threads
		return err
	}
	for range pipes {
		if err := unix.Pipe2(make([]int, 2), unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	if _, err := fmt.Println("held"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPipesOfATree checks that a tree whose pipes alone exceed the limit of a user is
// refused before anything is made, with the limit's name, but not if the user may exceed
// the limit.
func TestPipesOfATree(t *testing.T) {
	needRoot(t)
	soft := pagesOfPipes(t)
	large := strconv.Itoa(256 * os.Getpagesize())
	for _, c := range []struct {
		name string
		tree string
		fits bool
	}{
		{"large ones", manyPipes(soft/256+1, ", capacity: "+large), false},
		{"usual ones", manyPipes(soft/defaultPages+1, ""), false},
		{"small ones", manyPipes(soft/defaultPages+1, ", capacity: 4096"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := save(t, openFolder(t), c.tree)
			for _, args := range [][]string{{"check", "--host", path}, {"restore", path}, {"restore", "-d", path}} {
				if c.fits && args[0] == "restore" {
					continue
				}
				res := wait(t, start(t, aNewUser(), args...))
				switch {
				case c.fits && res.status != 0:
					t.Errorf("%v: status %d: %s", args, res.status, res.errors)
				case !c.fits && (res.status != 3 || !strings.Contains(res.errors, "fs.pipe-user-pages-soft allows a user "+strconv.Itoa(soft)) || !strings.Contains(res.errors, ": host: file ")):
					t.Errorf("%v: status %d: %s", args, res.status, res.errors)
				}
				if res := run(t, "check", "--host", path); res.status != 0 {
					t.Errorf("root, who may exceed the limit: status %d: %s", res.status, res.errors)
				}
			}
			noDescendants(t)
		})
	}
}

// TestPipesOfOthers checks that it is an error with the limit's name if the kernel silently
// makes a pipe smaller because of the user's other pipes, no matter which process makes the
// pipe; and that no pipe is smaller below the limit.
func TestPipesOfOthers(t *testing.T) {
	needRoot(t)
	soft := pagesOfPipes(t)
	const room = 4 // pipes
	others := soft/defaultPages - room
	hold := exec.Command(self(t))
	hold.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", pipesEnv, nobodyElse(), others))
	hold.Stderr = os.Stderr
	in, err := hold.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = hold.Wait()
	}()
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || said != "held\n" {
		t.Fatalf("the helper has not made its pipes: %q, %v", said, err)
	}
	for _, strategy := range restore.Strategies() {
		for _, c := range []struct {
			name, tree, call string
		}{
			{"own", manyPipes(room+1, ""), "fcntl(F_GETPIPE_SZ)"},
			{"with content", manyPipes(room+1, ", content: "+strings.Repeat("x", 9000)), "fcntl(F_GETPIPE_SZ)"},
			{"shared", strings.Replace(manyPipes(room+1, ""), "0: p0.r, ", "0: p0.r, 1000: p0.w, 1001: p0.w, 1002: p1.w, 1003: p2.w, 1004: p3.w, 1005: p4.w, ", 1), "fcntl(F_GETPIPE_SZ)"},
			{"with capacity", manyPipes(room+1, ", capacity: 65536"), "fcntl(F_SETPIPE_SZ)"},
		} {
			t.Run(strategy.String()+" "+c.name, func(t *testing.T) {
				path := save(t, openFolder(t), c.tree)
				if res := wait(t, start(t, aNewUser(), "check", "--host", path)); res.status != 0 {
					t.Errorf("the tree alone does not exceed the limit: status %d: %s", res.status, res.errors)
				}
				res := wait(t, start(t, aNewUser(), "restore", "-d", "--strategy", strategy.String(), path))
				if res.status != 1 || !strings.Contains(res.errors, c.call) || !strings.Contains(res.errors, "fs.pipe-user-pages-soft") {
					t.Errorf("status %d: %s", res.status, res.errors)
				}
				if left := children(); !slices.Equal(left, []int{hold.Process.Pid}) {
					endTree(t)
					t.Fatalf("left behind: %v, beside %d", left, hold.Process.Pid)
				}
			})
		}
	}
}

// TestPipesAreWhole checks that pipes without capacity have the kernel's usual one.
func TestPipesAreWhole(t *testing.T) {
	rep := detached(t, write(t, manyPipes(3, "")))
	for n := range 3 {
		end, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/%d", rep.Tasks[0].HostPID, n), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close()
		if size, err := unix.FcntlInt(end.Fd(), unix.F_GETPIPE_SZ, 0); err != nil || size != defaultPages*os.Getpagesize() {
			t.Errorf("fd %d: %d bytes, %v", n, size, err)
		}
	}
}
