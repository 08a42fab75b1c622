//go:build linux

package activation

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestReceive checks which files are received with which variables.
func TestReceive(t *testing.T) {
	a, b := memfd(t, "a"), memfd(t, "b")
	for _, c := range []struct {
		name  string
		env   []string
		want  received
		error string // a part of the expected message
	}{
		{"names", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=x:y"}, received{Names: []string{"x", "y"}, Texts: []string{"a", "b"}}, ""},
		{"a name twice", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=x:x"}, received{Names: []string{"x", "x"}, Texts: []string{"a", "b"}}, ""},
		{"an empty name", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=:x"}, received{Names: []string{"", "x"}, Texts: []string{"a", "b"}}, ""},
		{"no names", []string{"LISTEN_FDS=2"}, received{Names: []string{Unknown, Unknown}, Texts: []string{"a", "b"}}, ""},
		{"one of two", []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=x"}, received{Names: []string{"x"}, Texts: []string{"a"}}, ""},
		{"no number", nil, received{}, ""},
		{"another process, by its pidfd", []string{"LISTEN_FDS=2", "LISTEN_PIDFDID=1"}, received{}, ""},
		{"too few names", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=x"}, received{}, "1 names for 2 files"},
		{"too many names", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=x:y:z"}, received{}, "3 names for 2 files"},
		{"more than there are", []string{"LISTEN_FDS=5000"}, received{}, "descriptor "},
		{"none", []string{"LISTEN_FDS=0"}, received{}, `"0" is not a number of files`},
		{"negative", []string{"LISTEN_FDS=-1"}, received{}, `"-1" is not a number of files`},
		{"a word", []string{"LISTEN_FDS=two"}, received{}, `"two" is not a number of files`},
		{"beyond all descriptors", []string{"LISTEN_FDS=2147483647"}, received{}, "not a number of files"},
		{"pidfd is a word", []string{"LISTEN_FDS=2", "LISTEN_PIDFDID=x"}, received{}, `"x" is not the inode number of a pidfd`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "another process, by its pidfd" {
				if _, ok := pidfdID(); !ok {
					t.Skip("pidfds have no numbers of their own before Linux 6.9")
				}
			}
			cmd := viaShell(helper(t, "receive"), c.env...)
			cmd.ExtraFiles = []*os.File{a, b}
			got := whatIsReceived(t, cmd)
			if (got.Error != "") != (c.error != "") || !strings.Contains(got.Error, c.error) || got.IsEnvironmentError != (c.error != "") {
				t.Errorf("error %q, want %q", got.Error, c.error)
			}
			c.want.Error, c.want.IsEnvironmentError, c.want.Cloexec = got.Error, got.IsEnvironmentError, true
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("another process", func(t *testing.T) {
		cmd := helper(t, "receive")
		cmd.Env = append(cmd.Env, "LISTEN_FDS=2", "LISTEN_PID=1")
		cmd.ExtraFiles = []*os.File{a, b}
		if diff := cmp.Diff(received{Cloexec: true}, whatIsReceived(t, cmd)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestReceiveOwn checks that Receive refuses descriptors that this process itself has
// opened.
func TestReceiveOwn(t *testing.T) {
	var fds [2]int // two numbers, so at least one is not below First
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if err := takeOver(fds[1]); !errors.Is(err, ErrEnvironment) {
		t.Errorf("got %v, want %v", err, ErrEnvironment)
	}
	t.Setenv(listenPID, strconv.Itoa(os.Getpid()))
	t.Setenv(listenFDs, strconv.Itoa(fds[1]-First+1))
	if files, err := Receive(); !errors.Is(err, ErrEnvironment) || files != nil {
		t.Errorf("got %v, %v", files, err)
	}
}

// TestJudge reads passed files with systemd's library, in a child, and in a process that
// Exec replaces.
func TestJudge(t *testing.T) {
	judge := buildJudge(t)
	want := "3 web one\n4 unknown two\n5 web one\nargv called 2, next 0\n"
	t.Run("command", func(t *testing.T) {
		one := memfd(t, "one")
		cmd := exec.CommandContext(t.Context(), judge)
		cmd.Args = []string{"called", "argument"}
		cmd.Env = []string{"LISTEN_FDS=77", "LISTEN_FDNAMES=old", "LISTEN_PIDFDID=5"}
		if err := Command(cmd, File{"web", one}, File{"", memfd(t, "two")}, File{"web", one}); err != nil {
			t.Fatal(err)
		}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, out, want)
		}
	})
	t.Run("exec", func(t *testing.T) {
		cmd := helper(t, "exec")
		cmd.Env = append(cmd.Env, "JUDGE="+judge)
		out, err := cmd.Output()
		if err != nil || string(out) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, out, want)
		}
	})
}

func execJudge() error {
	files := make([]File, 2)
	for i, text := range []string{"one", "two"} {
		fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		files[i].File = os.NewFile(uintptr(fd), text)
		if _, err := files[i].WriteAt([]byte(text), 0); err != nil {
			return err
		}
	}
	files[0].Name = "web"
	return Exec(os.Getenv("JUDGE"), []string{"called", "argument"}, nil, files[0], files[1], files[0])
}

// TestCommand checks the variables of the child: they must have its own pid and the inode
// number of its pidfd.
func TestCommand(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), cat, "/proc/self/environ", "-")
	cmd.Env = []string{"A=1"}
	if err := Command(cmd, File{"x", memfd(t, "x")}); err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "1", listenFDs: "1", listenFDNames: "x", listenPID: strconv.Itoa(cmd.Process.Pid)}
	if id, ok := idOf(t, cmd.Process.Pid); ok {
		want[listenPIDFDID] = id
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// idOf returns the inode number of another process's pidfd, if the kernel is new enough.
func idOf(t *testing.T, pid int) (string, bool) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(self)
	var st, own unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstat(self, &own)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Ino), st.Ino != own.Ino // older kernels have one inode for all pidfds
}

// TestCommandReceives passes files with Command to a program that calls Receive.
func TestCommandReceives(t *testing.T) {
	cmd := helper(t, "receive")
	if err := Command(cmd, File{"x", memfd(t, "a")}, File{"y", memfd(t, "b")}); err != nil {
		t.Fatal(err)
	}
	want := received{Names: []string{"x", "y"}, Texts: []string{"a", "b"}, Cloexec: true}
	if diff := cmp.Diff(want, whatIsReceived(t, cmd)); diff != "" {
		t.Error(diff)
	}
	// Without files there are no variables, and the program is started directly.
	cmd = helper(t, "receive")
	if err := Command(cmd); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(received{Cloexec: true}, whatIsReceived(t, cmd)); diff != "" {
		t.Error(diff)
	}
}

func TestCommandErrors(t *testing.T) {
	f := memfd(t, "")
	busy := exec.Command("true")
	busy.ExtraFiles = []*os.File{f}
	for _, c := range []struct {
		name string
		cmd  *exec.Cmd
		file File
		want error
	}{
		{"files already", busy, File{"x", f}, ErrExtraFiles},
		{"a colon", exec.Command("true"), File{"x:y", f}, ErrBadName},
		{"a line", exec.Command("true"), File{"x\ny", f}, ErrBadName},
		{"not ASCII", exec.Command("true"), File{"ü", f}, ErrBadName},
		{"long", exec.Command("true"), File{strings.Repeat("x", MaxName+1), f}, ErrBadName},
		{"nil", exec.Command("true"), File{"x", nil}, os.ErrInvalid},
		{"no such program", exec.Command("no-such-program"), File{"x", f}, exec.ErrNotFound},
	} {
		path, env := c.cmd.Path, len(c.cmd.Env)
		if err := Command(c.cmd, c.file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if c.cmd.Path != path || len(c.cmd.Env) != env {
			t.Errorf("%s: the command was changed", c.name)
		}
	}
	initialized.Store(false)
	err := Command(exec.Command("true"), File{"x", f})
	initialized.Store(true)
	if !errors.Is(err, ErrNoInit) {
		t.Errorf("without Init: %v", err)
	}
}

// TestCommandCannot starts programs that do not exist or cannot be executed.
func TestCommandCannot(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{"/nonexistent": 127, text: 126} {
		cmd := &exec.Cmd{Path: path, Args: []string{"x"}}
		if err := Command(cmd, File{"x", memfd(t, "")}); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != status || !strings.HasPrefix(string(out), "activation: exec "+path+": ") {
			t.Errorf("%s: %v, %q", path, err, out)
		}
	}
}

// TestSocketActivate has systemd-socket-activate start a helper when a client connects.
func TestSocketActivate(t *testing.T) {
	activate := needProgram(t, "systemd-socket-activate", "systemd")
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	cmd := exec.CommandContext(t.Context(), activate, "-l", first, "-l", second, "--fdname=web:admin", "-E", helperEnv+"=serve", self)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{second: "admin", first: "web"} {
		if got, err := ask(path); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	if t.Failed() {
		_ = cmd.Process.Kill()
	}
	if err := cmd.Wait(); err != nil { // systemd-socket-activate executes the helper, which ends after two clients
		t.Errorf("%v\n%s", err, log.String())
	}
}

// ask reads the answer of a server, which may not be running yet.
func ask(path string) (string, error) {
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if conn, err = net.Dial("unix", path); err == nil {
			break
		}
	}
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// serveEach accepts one client of each listener and sends it the listener's name.
func serveEach() error {
	files, err := Receive()
	if err != nil {
		return err
	}
	done := make(chan error)
	for _, f := range files {
		l, err := f.Listener()
		if err != nil {
			return err
		}
		go func() {
			conn, err := l.Accept()
			if err == nil {
				_, err = io.WriteString(conn, f.Name)
				err = errors.Join(err, conn.Close(), l.Close())
			}
			done <- err
		}()
	}
	for range files {
		err = errors.Join(err, <-done)
	}
	if len(files) != 2 {
		return fmt.Errorf("%d files", len(files))
	}
	return err
}
