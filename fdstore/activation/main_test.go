//go:build linux

package activation

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv is the variable that makes the test binary run one of the helpers.
const helperEnv = "ACTIVATION_TEST_HELPER"

// patience is how long a test waits. It only ends a test that hangs: no result depends on
// how long something takes.
const patience = 3 * time.Minute

var helpers = map[string]func() error{
	"receive": receiver,
	"serve":   serveEach,
	"exec":    execJudge,
	"service": restartingService,
}

func TestMain(m *testing.M) {
	Init()
	if name := os.Getenv(helperEnv); name != "" {
		if err := helpers[name](); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		return
	}
	before := descriptors()
	status := m.Run()
	if after := descriptors(); after != before {
		fmt.Fprintf(os.Stderr, "activation: the tests leaked descriptors: %s, before %s\n", after, before)
		status = max(status, 1)
	}
	if len(skipped) > 0 {
		fmt.Printf("activation: %d skipped:\n\t%s\n", len(skipped), strings.Join(skipped, "\n\t"))
	}
	os.Exit(status)
}

func descriptors() string {
	var b strings.Builder
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(link, "anon_inode:") {
			fmt.Fprintf(&b, "%s=%s ", e.Name(), link)
		}
	}
	return b.String()
}

var skipped []string

// need skips a test that lacks a part of systemd, or fails it if REGROW_TEST_ROOT is set.
// A virtual machine has neither systemd nor a compiler.
func need(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("REGROW_TEST_ROOT") == "1" && os.Getenv("REGROW_TEST_VM") != "1" {
		t.Fatalf("needs %s", what)
	}
	skipped = append(skipped, t.Name()+": needs "+what)
	t.Skipf("needs %s", what)
}

func needProgram(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		need(t, name+" of Debian's package "+pkg)
	}
	return path
}

// buildJudge builds the program that reads the passed files with systemd's library.
func buildJudge(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "judge")
	out, err := exec.Command(needProgram(t, "cc", "gcc"), "-O2", "-Wall", "-Wextra", "-o", program, "testdata/judge/judge.c", "-ldl").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if exit, ok := errors.AsType[*exec.ExitError](exec.Command(program).Run()); ok && exit.ExitCode() == 77 {
		need(t, "libsystemd.so.0 of Debian's package libsystemd0")
	}
	return program
}

// helper returns a command that runs the test binary as a helper.
func helper(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), helperEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// viaShell has a shell set LISTEN_PID, as a manager would, without this package.
func viaShell(cmd *exec.Cmd, env ...string) *exec.Cmd {
	cmd.Args = []string{"sh", "-c", `export LISTEN_PID=$$; exec "$0"`, cmd.Path}
	cmd.Path = "/bin/sh"
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

func memfd(t *testing.T, text string) *os.File {
	t.Helper()
	f := newMemfd(t, text)
	t.Cleanup(func() { f.Close() })
	return f
}

func newMemfd(t *testing.T, text string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), text)
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// received is what the helper reports about the files that it received.
type received struct {
	Names, Texts       []string
	Cloexec            bool     // all are
	Again              int      // files of a second call
	Left               []string // variables of the protocol that are still set
	Error              string
	IsEnvironmentError bool
}

func receiver() error {
	files, err := Receive()
	r := received{Cloexec: true}
	if err != nil {
		r.Error, r.IsEnvironmentError = err.Error(), errors.Is(err, ErrEnvironment)
	}
	for _, f := range files {
		b := make([]byte, 100)
		n, _ := f.ReadAt(b, 0)
		r.Names, r.Texts = append(r.Names, f.Name), append(r.Texts, string(b[:n]))
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		r.Cloexec = r.Cloexec && err == nil && flags&unix.FD_CLOEXEC != 0
	}
	again, err := Receive()
	if err != nil {
		return err
	}
	r.Again = len(again)
	for _, entry := range os.Environ() {
		if isListen(entry) || strings.HasPrefix(entry, programEnv) {
			r.Left = append(r.Left, entry)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func whatIsReceived(t *testing.T, cmd *exec.Cmd) received {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r received
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	return r
}
