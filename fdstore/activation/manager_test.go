//go:build linux

package activation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/fdstore"
)

// smallManager is a service manager that handles messages about its store.
type smallManager struct {
	conn    *net.UnixConn
	address string

	mu     sync.Mutex
	states []string // of all messages but barriers
	stored []stored
	keep   bool // keep the ends of barriers open
	done   chan struct{}
}

type stored struct {
	name string
	poll bool
	file *os.File
}

// manage starts a smallManager for this process and its children.
func manage(t *testing.T, address string) *smallManager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &smallManager{conn: conn, address: address, done: make(chan struct{})}
	go m.serve()
	t.Cleanup(func() {
		conn.Close()
		<-m.done
		for _, s := range m.stored {
			s.file.Close()
		}
	})
	t.Setenv("NOTIFY_SOCKET", address)
	return m
}

func (m *smallManager) serve() {
	defer close(m.done)
	b, oob := make([]byte, 4096), make([]byte, 4096)
	var held []int
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(b, oob)
		if err != nil {
			for _, fd := range held {
				unix.Close(fd)
			}
			return
		}
		var fds []int
		messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for i := range messages {
			rights, _ := unix.ParseUnixRights(&messages[i])
			fds = append(fds, rights...)
		}
		if m.take(string(b[:n]), fds) {
			continue
		}
		held = append(held, fds...)
	}
}

// take handles a message and reports whether it has taken over the descriptors.
func (m *smallManager) take(state string, fds []int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := strings.Split(strings.TrimSuffix(state, "\n"), "\n")
	name := "stored"
	for _, line := range lines {
		if after, ok := strings.CutPrefix(line, "FDNAME="); ok {
			name = after
		}
	}
	switch {
	case slices.Equal(lines, []string{"BARRIER=1"}) && len(fds) == 1:
		if m.keep {
			return false
		}
		unix.Close(fds[0])
		return true
	case slices.Contains(lines, "FDSTORE=1"):
		for _, fd := range fds {
			m.stored = append(m.stored, stored{name, !slices.Contains(lines, "FDPOLL=0"), os.NewFile(uintptr(fd), name)})
		}
	case slices.Contains(lines, "FDSTOREREMOVE=1"):
		m.stored = slices.DeleteFunc(m.stored, func(s stored) bool {
			if s.name == name {
				s.file.Close()
			}
			return s.name == name
		})
	}
	m.states = append(m.states, fmt.Sprintf("%s (%d)", strings.Join(lines, " "), len(fds)))
	return true
}

// start runs a service with the files that the manager has kept for it.
func (m *smallManager) start(t *testing.T, env ...string) {
	t.Helper()
	cmd := helper(t, "service")
	var names []string
	m.mu.Lock()
	for _, s := range m.stored {
		names = append(names, s.name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.file)
	}
	m.mu.Unlock()
	if len(names) > 0 {
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	viaShell(cmd, env...)
	m.mu.Lock() // the files must stay open until the child has them
	err := cmd.Start()
	m.mu.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *smallManager) said() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.states)
}

func (m *smallManager) file(i int) *os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stored[i].file
}

func (m *smallManager) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{}
	for _, s := range m.stored {
		names = append(names, s.name)
	}
	return names
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// addresses are the two forms of NOTIFY_SOCKET.
func addresses(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@regrow-activation-test-%d", os.Getpid()),
	}
}

func TestStoreRemove(t *testing.T) {
	for form, address := range addresses(t) {
		t.Run(form, func(t *testing.T) {
			sm := manage(t, address)
			m, err := FindManager()
			if err != nil {
				t.Fatal(err)
			}
			ctx := bounded(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			if err := errors.Join(
				m.Store(ctx, "one", StoreOptions{}, memfd(t, "1")),
				m.Store(ctx, "pipe", StoreOptions{WithoutPoll: true}, r, w),
				m.Store(ctx, "one", StoreOptions{}, File{"another name", memfd(t, "2")}),
				m.Notify(ctx, "READY=1", "STATUS=on"),
				m.Remove(ctx, "none"),
			); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"one", "pipe", "pipe", "one"}, sm.names()); diff != "" {
				t.Error(diff)
			}
			if err := m.Remove(ctx, "one"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"pipe", "pipe"}, sm.names()); diff != "" {
				t.Error(diff)
			}
			want := []string{
				"FDSTORE=1 FDNAME=one (1)", "FDSTORE=1 FDNAME=pipe FDPOLL=0 (2)", "FDSTORE=1 FDNAME=one (1)",
				"READY=1 STATUS=on (0)", "FDSTOREREMOVE=1 FDNAME=none (0)", "FDSTOREREMOVE=1 FDNAME=one (0)",
			}
			if diff := cmp.Diff(want, sm.said()); diff != "" {
				t.Error(diff)
			}
			// The manager has the two ends of the same pipe, in order.
			if _, err := w.WriteString("through"); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			if n, err := sm.file(0).Read(b); err != nil || string(b[:n]) != "through" {
				t.Errorf("%q, %v", b[:n], err)
			}
			if flags, err := unix.FcntlInt(uintptr(dup(t, r)), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("flags %#x, %v: the borrowed pipe was made blocking", flags, err)
			}
		})
	}
}

// dup duplicates a file's descriptor without os.File.Fd, which would change the file.
func dup(t *testing.T, f *os.File) (fd int) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(p uintptr) { fd, err = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) })
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestStoreMany stores more files than one message carries.
func TestStoreMany(t *testing.T) {
	sm := manage(t, filepath.Join(t.TempDir(), "notify"))
	m, err := FindManager()
	if err != nil {
		t.Fatal(err)
	}
	f := memfd(t, "")
	files := make([]syscall.Conn, maxFiles+10)
	for i := range files {
		files[i] = f
	}
	if err := m.Store(bounded(t), "many", StoreOptions{}, files...); err != nil {
		t.Fatal(err)
	}
	if got := len(sm.names()); got != len(files) {
		t.Errorf("%d files, want %d", got, len(files))
	}
}

// TestServiceRestarts tests the complete cycle: a service stores files, ends, and gets
// them back when it is started again.
func TestServiceRestarts(t *testing.T) {
	sm := manage(t, filepath.Join(t.TempDir(), "notify"))
	for i := range 4 {
		sm.start(t, fmt.Sprintf("SERVICE_RUN=%d", i))
	}
	if diff := cmp.Diff([]string{"state"}, sm.names()); diff != "" {
		t.Error(diff)
	}
	checkState(t, sm.file(0))
	said := sm.said()
	if last := said[len(said)-1]; last != "FDSTOREREMOVE=1 FDNAME=old (0)" {
		t.Errorf("the last message is %q", last)
	}
}

func checkState(t *testing.T, f *os.File) {
	t.Helper()
	b := make([]byte, 100)
	if n, _ := f.ReadAt(b, 0); string(b[:n]) != "run 0, run 1, run 2, run 3, " {
		t.Errorf("the state is %q", b[:n])
	}
}

// restartingService has its state in a memfd that the manager keeps. The first run also
// stores a second file, a store with a file in it, which the last run removes.
func restartingService() error {
	m, err := FindManager()
	if err != nil {
		return err
	}
	files, err := Receive()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	run := os.Getenv("SERVICE_RUN")
	if run == "" { // the manager always starts it with the same arguments
		run = "0"
		for _, f := range files {
			if f.Name == "state" {
				b := make([]byte, 100)
				n, _ := f.ReadAt(b, 0)
				run = fmt.Sprint(strings.Count(string(b[:n]), "run"))
			}
		}
	}
	if run == "0" {
		if len(files) > 0 {
			return fmt.Errorf("passed %d files at the first start", len(files))
		}
		if files, err = firstFiles(); err != nil {
			return err
		}
		for _, f := range files {
			if err := m.Store(ctx, f.Name, StoreOptions{}, f); err != nil {
				return err
			}
		}
	}
	if run == "4" && len(files) == 1 { // the last run
		return report(files[0])
	}
	if len(files) != 2 || run >= "4" {
		return fmt.Errorf("passed %d files at run %s", len(files), run)
	}
	for _, f := range files {
		if f.Name == "old" {
			err = storeOpens(f)
		} else {
			_, err = f.WriteString("run " + run + ", ") // at the offset of the previous run
		}
		if err != nil {
			return err
		}
	}
	if run == "3" {
		return m.Remove(ctx, "old")
	}
	return nil
}

// firstFiles are a memfd, and the root of a store that contains another memfd.
func firstFiles() ([]File, error) {
	var memfds [2]*os.File
	for i := range memfds {
		fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		memfds[i] = os.NewFile(uintptr(fd), "state")
	}
	if _, err := memfds[1].WriteString("inside"); err != nil {
		return nil, err
	}
	s, err := fdstore.New(fdstore.Options{})
	if err != nil {
		return nil, err
	}
	if _, err := s.AddNamed("inner", memfds[1]); err != nil {
		return nil, err
	}
	root, err := s.File()
	return []File{{"state", memfds[0]}, {"old", root}}, err
}

// storeOpens opens a store at its root and gets its file.
func storeOpens(root File) error {
	fd, err := root.Detach()
	if err != nil {
		return err
	}
	if _, err := root.Detach(); !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("a second get: %w", err)
	}
	s, err := fdstore.Open(fd)
	if err != nil {
		return err
	}
	f, err := s.GetNamed("inner")
	if err != nil {
		return err
	}
	b := make([]byte, 100)
	if n, _ := f.ReadAt(b, 0); string(b[:n]) != "inside" {
		return fmt.Errorf("the file in the store has %q", b[:n])
	}
	return nil
}

// report writes the final state to a file, and ends the manager.
func report(f File) error {
	b := make([]byte, 100)
	n, _ := f.ReadAt(b, 0)
	text := fmt.Sprintf("%s: %s", f.Name, b[:n])
	if err := os.WriteFile(os.Getenv("SERVICE_REPORT"), []byte(text), 0o644); err != nil {
		return err
	}
	os.Exit(enough)
	return nil
}

// enough is the status of a service that must not be started again.
const enough = 9

// TestUserManager runs the same service with systemd's user manager.
func TestUserManager(t *testing.T) {
	const systemd = "/lib/systemd/systemd"
	if _, err := os.Stat(systemd); err != nil {
		need(t, systemd+" of Debian's package systemd")
	}
	if os.Geteuid() != 0 {
		need(t, "root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	result := filepath.Join(dir, "result")
	for name, text := range map[string]string{
		"default.target": "[Unit]\nDescription=the test\nWants=test.service\n",
		"test.service": fmt.Sprintf(`[Unit]
StartLimitIntervalSec=0
FailureAction=exit
FailureActionExitStatus=7
[Service]
ExecStart=%s
Environment=%s=service SERVICE_REPORT=%s
NotifyAccess=main
FileDescriptorStoreMax=2
Restart=on-success
RestartSec=0
`, self, helperEnv, result),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(bounded(t), needProgram(t, "unshare", "util-linux"), "-m", "sh", "testdata/usermanager.sh", dir, systemd).CombinedOutput()
	exit, _ := errors.AsType[*exec.ExitError](err)
	if exit != nil && exit.ExitCode() == 77 || exit != nil && strings.HasPrefix(string(out), "unshare:") {
		skipped = append(skipped, t.Name()+": no mounts for a user manager here")
		t.Skipf("this machine does not let a user manager run: %s", out)
	}
	got, _ := os.ReadFile(result)
	if want := "state: run 0, run 1, run 2, run 3, "; string(got) != want {
		t.Errorf("%q, want %q; the manager: %v\n%s", got, want, err, out)
	}
}

func TestFindManager(t *testing.T) {
	for _, c := range []struct {
		address string
		want    error
		text    string
	}{
		{"", ErrNoManager, "NOTIFY_SOCKET is not set"},
		{"vsock:2:1234", ErrAddress, "outside of this machine"},
		{"vsock-stream:2:1234", ErrAddress, "outside of this machine"},
		{"run/notify", ErrAddress, "neither an absolute path nor @NAME"},
		{"@", ErrAddress, "neither"},
		{"/" + strings.Repeat("x", 107), ErrAddress, "longer than"},
		{"@" + strings.Repeat("x", 108), ErrAddress, "longer than"},
	} {
		t.Setenv("NOTIFY_SOCKET", c.address)
		if _, err := FindManager(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%q: %v", c.address, err)
		}
	}
	// Addresses of the maximal length work.
	for _, address := range []string{"/" + strings.Repeat("x", 106), "@" + strings.Repeat("x", 107)} {
		t.Setenv("NOTIFY_SOCKET", address)
		m, err := FindManager()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Notify(bounded(t), "READY=1"); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%d bytes: %v", len(address), err)
		}
	}
}

func TestStoreErrors(t *testing.T) {
	sm := manage(t, filepath.Join(t.TempDir(), "notify"))
	m, err := FindManager()
	if err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	closed := newMemfd(t, "")
	closed.Close()
	for _, c := range []struct {
		name, as string
		file     syscall.Conn
		want     error
	}{
		{"a colon", "a:b", memfd(t, ""), ErrBadName},
		{"a line", "a\nFDSTOREREMOVE=1", memfd(t, ""), ErrBadName},
		{"no name", "", memfd(t, ""), ErrBadName},
		{"closed", "a", closed, os.ErrClosed},
		{"nil", "a", nil, os.ErrInvalid},
	} {
		if err := m.Store(ctx, c.as, StoreOptions{}, c.file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := m.Remove(ctx, "a:b"); !errors.Is(err, ErrBadName) {
		t.Errorf("remove: %v", err)
	}
	if said := sm.said(); len(said) > 0 {
		t.Errorf("it got %q", said)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := m.Store(over, "a", StoreOptions{}, memfd(t, "")); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context has ended: %v", err)
	}
}

// TestSilentManager tests a manager that never closes the end of a barrier, and one that
// receives nothing.
func TestSilentManager(t *testing.T) {
	sm := manage(t, filepath.Join(t.TempDir(), "notify"))
	sm.mu.Lock()
	sm.keep = true
	sm.mu.Unlock()
	m, err := FindManager()
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := m.Store(short, "a", StoreOptions{}, memfd(t, "")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the manager keeps the barrier's end: %v", err)
	}

	deaf := filepath.Join(t.TempDir(), "deaf")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: deaf, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", deaf)
	if m, err = FindManager(); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ { // until its queue is full: net.unix.max_dgram_qlen
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := m.Notify(ctx, "READY=1")
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		if err != nil || n > 1_000_000 {
			t.Fatalf("message %d: %v", n, err)
		}
	}
}

// TestNotifyTool checks that smallManager understands the messages of systemd-notify,
// barrier included.
func TestNotifyTool(t *testing.T) {
	notify := needProgram(t, "systemd-notify", "systemd")
	sm := manage(t, filepath.Join(t.TempDir(), "notify"))
	ctx := bounded(t)
	if out, err := exec.CommandContext(ctx, notify, "--ready", "--status=on").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if said := sm.said(); len(said) != 1 || !strings.Contains(said[0], "READY=1") || !strings.Contains(said[0], "STATUS=on") {
		t.Errorf("got %q", said)
	}
}

func TestStoreMax(t *testing.T) {
	for text, want := range map[string]int{"7": 7, "0": 0} {
		t.Setenv("FDSTORE", text)
		if n, known := (&Manager{}).StoreMax(); n != want || !known {
			t.Errorf("%q: %d, %v", text, n, known)
		}
	}
	for _, text := range []string{"", "x", "-1"} {
		t.Setenv("FDSTORE", text)
		if _, known := (&Manager{}).StoreMax(); known {
			t.Errorf("%q is known", text)
		}
	}
}
