//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAddToCmd starts a program with another file and a store. That program starts one of
// its own with the environment but without the descriptor, which must get an error.
func TestAddToCmd(t *testing.T) {
	s := newTestStore(t, Options{})
	if _, err := s.AddNamed("greeting", memfd(t, "hello")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // each time with the same lent descriptor
		cmd := newHelper(t, nil, "inherited")
		cmd.ExtraFiles = []*os.File{devNull(t)}
		before := len(descriptors())
		if err := s.AddToCmd(cmd); err != nil {
			t.Fatal(err)
		}
		if more := len(descriptors()) - before; more > 1 {
			t.Errorf("%d descriptors are lent", more)
		}
		out, err := cmd.Output()
		if err != nil || string(out) != "hello\nno store\n" {
			t.Errorf("%q, %v", out, err)
		}
	}
	closeStore(t, s)
	if err := s.AddToCmd(exec.Command("true")); !errors.Is(err, os.ErrClosed) || !errors.Is(err, ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
}

// helpInherited prints the file "greeting" of its store, then starts itself again with
// its own original environment.
func helpInherited([]string) error {
	value := os.Getenv(EnvRoot)
	s, err := Inherited()
	if errors.Is(err, ErrNotStore) || errors.Is(err, unix.EBADF) {
		if os.Getenv(EnvRoot) == "" {
			return errors.New("the environment has changed although there was no store")
		}
		fmt.Println("no store")
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := Inherited(); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a second Inherited: %w", err)
	}
	f, err := s.GetNamed("greeting")
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := content(f)
	fmt.Println(text)
	if err != nil || f.Name() != "greeting" {
		return fmt.Errorf("the file is called %q: %w", f.Name(), err)
	}
	again := exec.Command("/proc/self/exe")
	again.Env = append(os.Environ(), EnvRoot+"="+value)
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	return again.Run()
}

func TestInheritedRefuses(t *testing.T) {
	s, other := newTestStore(t, Options{}), newTestStore(t, Options{})
	dup, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	fd := int(dup.Fd())
	for value, want := range map[string]error{
		"": ErrNotStore, "3": ErrNotStore, "x:y": ErrNotStore, "3:1": ErrNotStore, "-1:0000000000000001": ErrNotStore,
		formatRoot(1<<20, s.number):                   unix.EBADF,
		formatRoot(int(devNull(t).Fd()), s.number):    ErrNotStore,
		formatRoot(fd, other.number):                  ErrNotStore,
		" " + formatRoot(fd, s.number):                ErrNotStore,
		strings.ToUpper(formatRoot(fd, s.number|0xa)): ErrNotStore,
	} {
		t.Setenv(EnvRoot, value)
		before := len(descriptors())
		if _, err := Inherited(); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", value, err, want)
		}
		if after := len(descriptors()); after != before || os.Getenv(EnvRoot) != value {
			t.Errorf("%q: %d descriptors before, %d after; the variable is %q", value, before, after, os.Getenv(EnvRoot))
		}
	}
}

// TestStoreInStore adds a store to another one, gets it and opens it.
func TestStoreInStore(t *testing.T) {
	outer, inner := newTestStore(t, Options{}), newTestStore(t, Options{})
	if _, err := inner.AddNamed("deep", memfd(t, "deep")); err != nil {
		t.Fatal(err)
	}
	if _, err := outer.AddNamed("inner", inner); err != nil {
		t.Fatal(err)
	}
	closeStore(t, inner)
	if _, err := inner.SyscallConn(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the connection of a closed store: %v", err)
	}
	ids, err := outer.GetFDs(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	f, err := got.GetNamed("deep")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := content(f); text != "deep" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// TestGetFDs checks that GetFDs allocates nothing, and returns dst unchanged after an
// error.
func TestGetFDs(t *testing.T) {
	s := newTestStore(t, Options{})
	f := devNull(t)
	id, err := s.AddGroup(f, f, f)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]int, 1, 4)
	dst[0] = -7
	allocs := testing.AllocsPerRun(10, func() {
		got, err := s.GetFDs(id, dst)
		if err != nil || len(got) != 4 || got[0] != -7 || &got[0] != &dst[0] {
			t.Fatalf("%v, %v", got, err)
		}
		closeAll(got[1:])
	})
	if allocs != 0 && !raceEnabled {
		t.Errorf("%v allocations", allocs)
	}
	if got, err := s.GetFDs(1, dst); !errors.Is(err, fs.ErrNotExist) || len(got) != 1 {
		t.Errorf("message 1, which does not exist: %v, %v", got, err)
	}
}

// TestSockets gets listeners and packet sockets by name, also after their maker has
// closed its own.
func TestSockets(t *testing.T) {
	s := newTestStore(t, Options{})
	dir := t.TempDir()
	for name, address := range map[string][2]string{"web": {"tcp", "127.0.0.1:0"}, "local": {"unix", filepath.Join(dir, "s")}} {
		l, err := net.Listen(address[0], address[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddListener(name, l); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := s.Listener(name)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		c, err := net.Dial(address[0], l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Error(err)
		}
		c.Close()
		served, err := again.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer served.Close()
		if text, err := io.ReadAll(served); string(text) != "hello" || err != nil {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := s.AddNamed("dns", p.(syscall.Conn)); err != nil {
		t.Fatal(err)
	}
	again, err := s.PacketConn("dns")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.LocalAddr().String() != p.LocalAddr().String() {
		t.Errorf("%v, want %v", again.LocalAddr(), p.LocalAddr())
	}
	checkWrongSockets(t, s)
}

// checkWrongSockets gets sockets as something that they are not.
func checkWrongSockets(t *testing.T, s *Store) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, fds := range map[string][]int{"pipe": {int(r.Fd())}, "two": {int(r.Fd()), int(w.Fd())}} {
		if _, err := s.add(name, fds); err != nil {
			t.Fatal(err)
		}
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if _, err := s.add("not listening", []int{c}); err != nil {
		t.Fatal(err)
	}
	before := len(descriptors())
	for what, c := range map[string]struct{ got, want error }{
		"no name":         {second(s.Listener("nobody")), fs.ErrNotExist},
		"a pipe":          {second(s.Listener("pipe")), unix.ENOTSOCK},
		"a pipe, packets": {second(s.PacketConn("pipe")), unix.ENOTSOCK},
		"not listening":   {second(s.Listener("not listening")), unix.EINVAL},
		"a group":         {second(s.GetNamed("two")), ErrGroup},
		"no descriptor":   {second(s.AddListener("tls", struct{ net.Listener }{})), errors.ErrUnsupported},
		"a name twice":    {second(s.AddNamed("web", r)), fs.ErrExist},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", what, c.got, c.want)
		}
	}
	if after := len(descriptors()); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
