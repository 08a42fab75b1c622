package cstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/test/inflight"
)

var skipped int

// openerEnv is the variable that makes the test binary open a store made in C.
const openerEnv = "CSTORE_TEST_OPEN"

func TestMain(m *testing.M) {
	if os.Getenv(openerEnv) == "" {
		os.Exit(inflight.Run(inflight.Many, func() int { return runAll(m) }))
	}
	if err := openFromC(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runAll(m *testing.M) (status int) {
	var err error
	if builds.dir, err = os.MkdirTemp("", "cstore"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status = m.Run()
	if err := os.RemoveAll(builds.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	if skipped > 0 {
		fmt.Printf("%d tests skipped for want of something, see -v\n", skipped)
	}
	return status
}

// builds has the programs in C, each built once.
var builds struct {
	sync.Mutex
	dir string
}

// build builds one of the programs in C, or returns the one that was built beforehand: a
// virtual machine has no compiler. See test/vm.
func build(t *testing.T, name string) string {
	t.Helper()
	if dir := os.Getenv("REGROW_TEST_PROGRAMS"); dir != "" {
		return filepath.Join(dir, name)
	}
	builds.Lock()
	defer builds.Unlock()
	program := filepath.Join(builds.dir, name)
	if _, err := os.Stat(program); err == nil {
		return program
	}
	out, err := exec.Command("cc", "-O2", "-Wall", "-Wextra", "-o", program, filepath.Join(name, name+".c")).CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		need(t, "a C compiler")
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// need skips a test that lacks something, or fails it if REGROW_TEST_ROOT is set.
func need(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("REGROW_TEST_ROOT") == "1" {
		t.Fatalf("needs %s", what)
	}
	skipped++
	t.Skipf("needs %s", what)
}

func memfd(t *testing.T, text string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "file")
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCPullsFromGo has the C program pull from each part of a store.
func TestCPullsFromGo(t *testing.T) {
	pull := build(t, "pull")
	for layout, n := range map[fdstore.Layout]int{fdstore.Nested: 5300, fdstore.Flat: 100} {
		s, err := fdstore.New(fdstore.Options{Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		odd, even := memfd(t, "odd "), memfd(t, "even ")
		marks := map[int]string{0: "first", 31: "31", 32: "32", 95: "95", 96: "96", 2079: "2079", 2080: "2080", 6175: "6175", 6176: "6176", n - 1: "last"}
		for i := range n {
			group := []fdstore.File{even}
			if i%2 == 1 {
				group = []fdstore.File{odd, even}
			}
			if text, ok := marks[i]; ok {
				group = append(group, memfd(t, text))
			}
			if _, err := s.AddGroup(group...); errors.Is(err, fdstore.ErrInFlight) {
				need(t, fmt.Sprintf("more files in flight (%v)", err))
			} else if err != nil {
				t.Fatal(err)
			}
		}
		root, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		rootFile := os.NewFile(uintptr(root), "root")
		defer rootFile.Close()
		for i, text := range marks {
			if i >= n {
				continue
			}
			cmd := exec.Command(pull, "3", fmt.Sprint(i))
			cmd.ExtraFiles = []*os.File{rootFile}
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			want := map[int]string{0: "even ", 1: "odd even "}[i%2] + text
			if err != nil || string(out) != want {
				t.Errorf("message %d: %q, %v; want %q", i, out, err, want)
			}
		}
		cmd := exec.Command(pull, "3", fmt.Sprint(n))
		cmd.ExtraFiles = []*os.File{rootFile}
		if out, err := cmd.CombinedOutput(); err == nil {
			t.Errorf("message %d, which does not exist: %q", n, out)
		}
	}
}

// TestGoPullsFromC has the C program make a store and execute this test binary.
func TestGoPullsFromC(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(build(t, "make"), self)
	cmd.Env = append(os.Environ(), openerEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "one\ntwo three\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// openFromC opens the store at descriptor 3 and prints what its two messages
// contain.
func openFromC() error {
	s, err := fdstore.Open(3)
	if err != nil {
		return err
	}
	defer s.Close()
	for id := range fdstore.ID(2) {
		files, err := s.GetGroup(id)
		if err != nil {
			return err
		}
		var texts []string
		for _, f := range files {
			text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
			if err != nil {
				return err
			}
			texts = append(texts, string(text))
			f.Close()
		}
		fmt.Println(strings.Join(texts, " "))
	}
	for what, err := range map[string]error{
		"a third message": second(s.Get(2)),
		"a group as one":  second(s.Get(1)),
		"a name":          second(s.Lookup("x")),
		"adding":          second(s.Add(os.Stdin)),
		"sealing":         s.Seal(),
	} {
		want := map[string]error{
			"a third message": fdstore.ErrNotFound, "a group as one": fdstore.ErrGroup, "a name": fdstore.ErrNoCatalog,
			"adding": fdstore.ErrReadOnly, "sealing": fdstore.ErrReadOnly,
		}[what]
		if !errors.Is(err, want) {
			return fmt.Errorf("%s: got %w, want %w", what, err, want)
		}
	}
	if n := s.Len(); n != -1 {
		return fmt.Errorf("length %d of a store without a catalog, want -1", n)
	}
	return nil
}

func second[T any](_ T, err error) error { return err }
