package live

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/tasktree/kind"
)

// child starts a program whose standard output can be read, and ends it with the test.
func child(t testing.TB, files []*os.File, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // its group, which nobody has waited for yet
		_ = cmd.Wait()
	})
	if args[0] == "sleep" {
		sleeps(t, cmd.Process.Pid)
	}
	return cmd
}

// sleeps waits until a process sleeps: before, it opens files of its own.
func sleeps(t testing.TB, pid int) {
	t.Helper()
	const patience = time.Minute
	var call string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		if err != nil {
			t.Fatal(err)
		}
		call, _, _ = strings.Cut(string(text), " ")
		if n, err := strconv.Atoi(call); err == nil && (n == unix.SYS_CLOCK_NANOSLEEP || n == unix.SYS_NANOSLEEP) {
			return
		}
	}
	t.Fatalf("after %v it is in the call %s", patience, call)
}

func lookAt(t testing.TB, pid int, o Options) *Seen {
	t.Helper()
	seen, err := Look(pid, o)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func encode(s *Seen) (string, error) {
	var b strings.Builder
	err := images.Encode(&b, s.Tree)
	return b.String(), err
}

// TestLook reads a program that this test has given its descriptors.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	f, err := os.OpenFile(filepath.Join(dir, "a file"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("0123456789"); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("in it"); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer socket.Close()
	defer unix.Close(pair[1])
	cmd := child(t, []*os.File{f, r, w, f, socket}, "sleep", "1000") // 3, 4, 5, 6, 7
	seen := lookAt(t, cmd.Process.Pid, Options{})
	if len(seen.Unseen) > 0 || len(seen.Processes) != 1 {
		t.Fatalf("%+v", seen)
	}
	root := seen.Tree.Root
	if got := strings.Join(textsOf(root.Run), " "); root.Name != "sleep" || got != "sleep 1000" {
		t.Errorf("%s runs %s", root.Name, got)
	}
	if cwd, _ := os.Getwd(); root.Cwd.Value != cwd {
		t.Errorf("cwd %s", root.Cwd.Value)
	}
	names := map[int]string{}
	for _, d := range root.FDs {
		names[d.FD] = d.File.Value
	}
	if names[3] != "a-file" || names[6] != "a-file" || names[4] != "pipe.r" || names[5] != "pipe.w" || !strings.HasPrefix(names[7], "pair.") {
		t.Errorf("files %v", names)
	}
	for _, f := range seen.Tree.Files {
		switch s := f.Spec.(type) {
		case *kind.Reg:
			if f.Name == "a-file" && (s.Path.Value != filepath.Join(dir, "a file") || s.Offset.Value != 10 || s.Flags.Bits != unix.O_RDWR|unix.O_APPEND) {
				t.Errorf("%+v", s)
			}
		case *kind.Pipe:
			if f.Name == "pipe" && (s.Content.Value != "in it" || s.Capacity.Value == 0) {
				t.Errorf("%+v", s)
			}
		}
	}
	// It is read again: nothing has changed, and it is a description.
	again := lookAt(t, cmd.Process.Pid, Options{})
	first, err := encode(seen)
	if err != nil {
		t.Fatal(err)
	}
	second, err := encode(again)
	if err != nil || first != second {
		t.Errorf("%v\n%s\n%s", err, first, second)
	}
	decoded, err := images.Decode(strings.NewReader(first), "seen.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	if v := Compare(decoded, again, Exact); len(v.Differences)+len(v.Unseen) > 0 {
		t.Errorf("%+v", v)
	}
	if got := make([]byte, 9); true {
		if n, err := r.Read(got); string(got[:n]) != "in it" {
			t.Errorf("the pipe has %q, %v", got[:n], err)
		}
	}
}

// TestLookTees copies what waits in a pipe in many packets, and more than the usual pipe
// holds.
func TestLookTees(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_DIRECT|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(ends[0]), "r"), os.NewFile(uintptr(ends[1]), "w")
	defer r.Close()
	defer w.Close()
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 200 {
		packet := strings.Repeat(string(rune('a'+i%26)), 1+i*19%4096)
		want = append(want, packet)
		if _, err := unix.Write(ends[1], []byte(packet)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := child(t, []*os.File{r}, "sleep", "1000")
	for range 3 {
		seen := lookAt(t, cmd.Process.Pid, Options{})
		i := slices.IndexFunc(seen.entries, func(e *entry) bool { return e.kind == "pipe" && e.spec.(*kind.Pipe).Capacity.Value == 1<<20 })
		if i < 0 || len(seen.Unseen) > 0 {
			t.Fatalf("it is not visible: %+v", seen.Unseen)
		}
		var got []string
		for _, packet := range seen.entries[i].spec.(*kind.Pipe).Packets {
			got = append(got, packet.Value)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("it is not what was written: %d packets", len(got))
		}
	}
}

// TestLookWhileItMoves looks at a shell that forks all the time, and whose numbers are
// other files each time: it ends, and says what it has seen.
func TestLookWhileItMoves(t *testing.T) {
	cmd := child(t, nil, "sh", "-c", `while :; do exec 3</ 4</dev/null 5</etc; (exec 4<&3; :) & (exec 5<&-; exec sleep 0.01) & exec 3<&- 4</ 5</dev/null; wait; done`)
	for start := time.Now(); time.Since(start) < time.Second; {
		seen := lookAt(t, cmd.Process.Pid, Options{})
		if seen.Tree.Root == nil || len(seen.Processes) != len(seen.Tree.Tasks()) {
			t.Fatalf("%d processes, %d tasks", len(seen.Processes), len(seen.Tree.Tasks()))
		}
		if _, err := encode(seen); err != nil {
			t.Fatal(err)
		}
		for _, u := range seen.Unseen {
			if strings.Contains(u.Why, "no such") {
				t.Errorf("gone is not unseen: %+v", u)
			}
		}
	}
}

// TestLookAlone holds the errors of a process that is not there.
func TestLookAlone(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Look(cmd.Process.Pid, Options{}); err == nil || !strings.Contains(err.Error(), "no such process") {
		t.Errorf("%v", err)
	}
}

// TestSearch finds each place, wherever it begins.
func TestSearch(t *testing.T) {
	list := []int{2, 4, 6, 8, 10, 12, 14}
	for n := range len(list) + 1 {
		for first := range n + 1 {
			for want := range 16 {
				calls := 0
				at, found, err := search(n, first, func(i int) (int, error) {
					calls++
					switch {
					case list[i] < want:
						return 1, nil
					case list[i] > want:
						return 2, nil
					}
					return 0, nil
				})
				i, ok := slices.BinarySearch(list[:n], want)
				if err != nil || found != ok || at != i || calls > 4 {
					t.Fatalf("%d in %v from %d: %d, %v, %v after %d calls", want, list[:n], first, at, found, err, calls)
				}
			}
		}
	}
}

// TestNames holds that names are unique, and those of descriptions.
func TestNames(t *testing.T) {
	n := names{}
	got := map[string]bool{}
	for _, hint := range []string{"a", "a", "a-2", "a", "", "", "[idle]", "ä b", strings.Repeat("x", 100), strings.Repeat("x", 100), "a-2"} {
		name := n.unique(hint)
		if got[name] || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzA0123456789_-") != "" || name[0] == '-' {
			t.Errorf("%q becomes %q", hint, name)
		}
		got[name] = true
	}
}

// TestResolve follows links as the kernel does, and none to where a server is asked.
func TestResolve(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"b": "a", "up": "a/sub", "loop": "loop", "abs": dir + "/a", "server": "mnt/x"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "a", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	r := resolver{mounts: map[string]string{"/": "ext4", dir + "/mnt": "fuse.silent"}}
	for _, c := range []struct {
		described, shown string
		same, why        bool
	}{
		{dir + "/a", dir + "/a", true, false},
		{dir + "/b", dir + "/a", true, false},
		{dir + "/b", dir + "/b", true, false}, // O_PATH|O_NOFOLLOW
		{"b/sub", dir + "/a/sub", true, false},
		{dir + "/up/../x", dir + "/a/x", true, false},
		{dir + "/up/../x", dir + "/x", false, false},
		{dir + "//abs/./sub/", dir + "/a/sub", true, false},
		{dir + "/abs/sub", dir + "/a/sub (deleted)", false, false},
		{dir + "/loop/x", dir + "/x", false, true},
		{dir + "/mnt/x/../y", dir + "/mnt/y", false, true},
		{dir + "/server", dir + "/mnt/x", true, false},
		{dir + "/mnt/x", dir + "/mnt/x", true, false},
		{"/", "/", true, false},
		{"/..", "/", true, false},
	} {
		if same, why := r.leads(c.described, c.shown); same != c.same || (why != "") != c.why {
			t.Errorf("%s and %s: %v %q", c.described, c.shown, same, why)
		}
	}
}

// BenchmarkLook reads a program with as many descriptors.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{10, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var files []*os.File
			for i := range n {
				f, err := os.Open("/dev/null")
				if i%2 == 0 {
					f, err = os.Open("/proc/version")
				}
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				files = append(files, f)
			}
			cmd := child(b, files, "sleep", "1000")
			for b.Loop() {
				lookAt(b, cmd.Process.Pid, Options{})
			}
		})
	}
}
