//go:build linux

package execfd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/execfd"
)

// jobEnv is the variable that makes the test binary a program that calls Exec for a job.
const jobEnv = "EXECFD_TEST_JOB"

// job describes the files of a program that calls Exec, before and after.
type job struct {
	Files  map[int]string // text of the file that each number must have
	Same   map[int]int    // numbers that must share the open file of another number
	AtHand map[string]int // number of a file before Exec
	Busy   bool           // other goroutines wait for timers and pipes during Exec
}

// show prints the content of the files at the given numbers.
const show = `for n in "$@"; do printf "%s=" $n; cat /proc/self/fd/$n; echo; done; echo pid=$$`

func TestMain(m *testing.M) {
	if text := os.Getenv(jobEnv); text != "" {
		fmt.Fprintln(os.Stderr, become(text))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func become(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	if j.Busy {
		busy()
	}
	p := execfd.Program{Path: "/bin/sh", Args: []string{"sh", "-c", show, "sh"}, Files: map[int]*os.File{}}
	for _, n := range slices.Sorted(maps.Keys(j.Files)) {
		f, err := numbered(j, j.Files[n])
		if err != nil {
			return err
		}
		p.Files[n] = f
		p.Args = append(p.Args, strconv.Itoa(n))
	}
	for n, as := range j.Same {
		p.Files[n] = p.Files[as]
		p.Args = append(p.Args, strconv.Itoa(n))
	}
	return execfd.Exec(p)
}

// busy makes the runtime use its epoll instance all the time, in many threads.
func busy() {
	for range 4 {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		go func() {
			for b := []byte{0}; ; time.Sleep(time.Microsecond) {
				_, _ = w.Write(b)
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		go func() {
			for {
				runtime.GC()
			}
		}()
	}
}

// numbered makes a file with a text, at the number that the job asks for.
func numbered(j job, text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if at, ok := j.AtHand[text]; ok && at != fd {
		if err := unix.Dup3(fd, at, unix.O_CLOEXEC); err != nil {
			return nil, err
		}
		unix.Close(fd)
		fd = at
	}
	if _, err := unix.Pwrite(fd, []byte(text), 0); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), text), nil
}

// started returns the test binary as a program that calls Exec.
func started(t *testing.T, j job) (out string, pid int) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), jobEnv+"="+string(text))
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return string(b), cmd.Process.Pid
}

func TestExec(t *testing.T) {
	for name, c := range map[string]struct {
		job  job
		want map[int]string
	}{
		"one at 3":          {job{Files: map[int]string{3: "a"}}, map[int]string{3: "a"}},
		"where epoll is":    {job{Files: map[int]string{3: "a", 4: "b", 5: "c", 6: "d", 7: "e"}, Busy: true}, map[int]string{3: "a", 4: "b", 5: "c", 6: "d", 7: "e"}},
		"far up":            {job{Files: map[int]string{200: "a"}}, map[int]string{200: "a"}},
		"standard input":    {job{Files: map[int]string{0: "a"}}, map[int]string{0: "a"}},
		"where it is":       {job{Files: map[int]string{50: "a"}, AtHand: map[string]int{"a": 50}}, map[int]string{50: "a"}},
		"two change places": {job{Files: map[int]string{50: "a", 51: "b"}, AtHand: map[string]int{"a": 51, "b": 50}}, map[int]string{50: "a", 51: "b"}},
		"three go round":    {job{Files: map[int]string{50: "a", 51: "b", 52: "c"}, AtHand: map[string]int{"a": 51, "b": 52, "c": 50}}, map[int]string{50: "a", 51: "b", 52: "c"}},
		"one at two, over another": {
			job{Files: map[int]string{50: "a", 52: "b"}, Same: map[int]int{51: 50}, AtHand: map[string]int{"a": 51, "b": 50}},
			map[int]string{50: "a", 51: "a", 52: "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, pid := started(t, c.job)
			for n, text := range c.want {
				if want := fmt.Sprintf("%d=%s\n", n, text); !strings.Contains(out, want) {
					t.Errorf("no %q in %q", want, out)
				}
			}
			if want := fmt.Sprintf("pid=%d\n", pid); !strings.Contains(out, want) {
				t.Errorf("no %q in %q: another process", want, out)
			}
		})
	}
}

// TestNothingElse checks that the program has no other descriptors than any child of this
// process and those of Files.
func TestNothingElse(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const number = 37 // not used otherwise
	cmd := exec.Command(self, "-test.run=^TestBecomeLister$")
	cmd.Env = append(os.Environ(), "EXECFD_TEST_LISTER="+strconv.Itoa(number))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	plain, err := exec.Command("ls", "/proc/self/fd").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := append(strings.Fields(string(plain)), strconv.Itoa(number))
	got := strings.Fields(string(out))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("descriptors %v, want %v", got, want)
	}
}

func TestBecomeLister(t *testing.T) {
	number, err := strconv.Atoi(os.Getenv("EXECFD_TEST_LISTER"))
	if err != nil {
		return // runs only as a part of TestNothingElse
	}
	ls, err := exec.LookPath("ls")
	if err != nil {
		t.Fatal(err)
	}
	t.Fatal(execfd.Exec(execfd.Program{Path: ls, Args: []string{"ls", "/proc/self/fd"}, Files: map[int]*os.File{number: os.Stdin}}))
}

// TestErrors checks that a failed Exec does not change the threads and descriptors of
// this process.
func TestErrors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	notExecutable := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(notExecutable, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	for _, c := range []struct {
		name string
		p    execfd.Program
		want error
	}{
		{"no such program", execfd.Program{Path: "/nonexistent", Files: map[int]*os.File{3: w, 4: w, 5: w, 6: w, 7: w}}, os.ErrNotExist},
		{"not executable", execfd.Program{Path: notExecutable, Files: map[int]*os.File{3: w}}, os.ErrPermission},
		{"closed file", execfd.Program{Path: "/bin/true", Files: map[int]*os.File{3: w, 4: closed}}, os.ErrClosed},
		{"no file", execfd.Program{Path: "/bin/true", Files: map[int]*os.File{3: nil}}, os.ErrInvalid},
		{"beyond the limit", execfd.Program{Path: "/bin/true", Files: map[int]*os.File{1 << 30: w}}, unix.EBADF},
	} {
		for range 10 { // so that it runs in other threads than the first, too
			if err := execfd.Exec(c.p); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("descriptors %s, before %s", after, before)
	}
	// No thread has kept a copy of the write end.
	w.Close()
	if err := r.SetReadDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the pipe's end: %v", err)
	}
}

func descriptors(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			fmt.Fprintf(&b, "%s=%s ", e.Name(), link)
		}
	}
	return b.String()
}

// TestLimit checks that the program has the soft RLIMIT_NOFILE with which this process
// was started, unless the limit was changed since.
func TestLimit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for own, want := range map[string]string{"": "777", "555": "555"} {
		cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 777 && exec "$0" -test.run='^TestBecomeLimit$'`, self)
		cmd.Env = append(os.Environ(), "EXECFD_TEST_LIMIT=1", "EXECFD_TEST_OWN="+own)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("own limit %q: the program has %q (%v), want %s", own, got, err, want)
		}
	}
}

func TestBecomeLimit(t *testing.T) {
	if os.Getenv("EXECFD_TEST_LIMIT") == "" {
		return // runs only as a part of TestLimit
	}
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil || was.Cur <= 777 {
		t.Fatalf("Go has not raised the limit of %d (%v): this shows nothing", was.Cur, err)
	}
	if own := os.Getenv("EXECFD_TEST_OWN"); own != "" {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 555, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	// A failed Exec does not change the limit.
	before := was.Cur
	if err := execfd.Exec(execfd.Program{Path: "/nonexistent", Files: map[int]*os.File{3: null}}); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil || os.Getenv("EXECFD_TEST_OWN") == "" && was.Cur != before {
		t.Fatalf("the limit is %d after an Exec that failed, it was %d (%v)", was.Cur, before, err)
	}
	t.Fatal(execfd.Exec(execfd.Program{Path: "/bin/sh", Args: []string{"sh", "-c", "ulimit -Sn"}, Files: map[int]*os.File{3: null}}))
}
