package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/images"
)

// TestIdentify tells what the descriptors of a program are: by what this process has, by
// what the program can have made for itself, and by what is expected of a socket. What is
// expected and not so is not believed.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	log, again, other := open(), open(), open()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	defer far.Close()
	// From 3 on. The pipe passes for one that the program has made itself, and so do two of the files.
	pid := child(t, []*os.File{log, again, other, r, w, near, near, far, log}, "sleep", "1000").Process.Pid
	tree, err := images.Decode(strings.NewReader(`version: 1
files:
  log:   {type: reg, path: `+path+`, flags: [O_RDWR]}
  same:  {type: inherit, key: same}
  own:   {type: reg, path: ./log, flags: [O_RDWR]}
  more:  {type: reg, path: log, flags: [O_RDWR]}
  else:  {type: reg, path: /dev/null}
  jobs:  {type: pipe}
tasks: [{name: root, fds: {3: log, 4: own, 5: more, 6: jobs.r, 7: jobs.w, 8: else, 9: same}}]
`), filepath.Join(dir, "tree.yaml"), dir)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]int{"log": int(log.Fd()), "same": int(log.Fd()), "[store]": int(far.Fd())}
	for _, c := range []struct {
		name  string
		hints map[int]string
		want  map[int]string
	}{
		{"nothing is expected", nil, map[int]string{
			3: "log", 4: "own", 5: "more", 6: "jobs.r", 7: "jobs.w", 8: "", 9: "", 10: "[store]", 11: "log",
		}},
		{"what can be, is", map[int]string{3: "same", 4: "more", 5: "own", 8: "[channel]", 9: "[channel]", 11: "log"}, map[int]string{
			3: "same", 4: "more", 5: "own", 6: "jobs.r", 7: "jobs.w", 8: "[channel]", 9: "[channel]", 10: "[store]", 11: "log",
		}},
		{"what cannot be, is not", map[int]string{
			3: "own", 4: "log", 5: "jobs.w", 6: "jobs.w", 7: "jobs.r", 8: "[store]", 9: "else", 10: "[channel]", 11: "more",
		}, map[int]string{
			3: "log", 4: "own", 5: "more", 6: "jobs.r", 7: "jobs.w", 8: "", 9: "", 10: "[store]", 11: "log",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := lookAt(t, pid, Options{Own: own})
			tables, err := seen.Identify(tree, []int{pid}, func(_, fd int) string { return c.hints[fd] })
			if err != nil {
				t.Fatal(err)
			}
			got := map[int]string{}
			for fd, d := range tables[0].FDs {
				if fd >= 3 && fd <= 11 {
					got[fd] = d.Name
				}
				if d.Cloexec && fd <= 11 {
					t.Errorf("fd %d is close-on-exec", fd)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if _, err := lookAt(t, pid, Options{}).Identify(tree, []int{os.Getpid()}, func(int, int) string { return "" }); err == nil || !strings.Contains(err.Error(), `task "root"`) {
		t.Errorf("a process that is not of the tree: %v", err)
	}
	if _, err := Look(pid, Options{Own: map[string]int{"lost": 1 << 20}}); err == nil || !strings.Contains(err.Error(), "descriptor 1048576 of this process (lost)") {
		t.Errorf("a descriptor that is not open: %v", err)
	}
}

// TestIdentifyHelpers holds that two sockets of one table are not one helper.
func TestIdentifyHelpers(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far")
	defer near.Close()
	defer far.Close()
	pid := child(t, []*os.File{near, far}, "sleep", "1000").Process.Pid
	tree, err := images.Decode(strings.NewReader("version: 1\ntasks: [{name: root}]\n"), "tree.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := lookAt(t, pid, Options{}).Identify(tree, []int{pid}, func(int, int) string { return "[channel]" })
	if err != nil {
		t.Fatal(err)
	}
	if fds := tables[0].FDs; fds[3].Name != "[channel]" || fds[4].Name != "" {
		t.Errorf("%v", fds)
	}
}
