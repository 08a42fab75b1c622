package safepath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

func TestProcsOf(t *testing.T) {
	got := procsOf([]proc.Mount{
		{Dev: 21, Root: "/", Point: "/proc"},
		{Dev: 21, Root: "/sys", Point: "/proc/sys"},
		{Dev: 21, Root: "/4711/net", Point: `/mnt/a b\c`},
		{Dev: 55, Root: "/", Point: "/"},
		{Dev: unix.Mkdev(0, 300), Root: "/", Point: "/" + strings.Repeat("x", LongestPoint)},
	})
	want := Procs{
		{21, "/proc", Whole},
		{21, "/proc/sys", Common},
		{21, `/mnt/a b\c`, Own},
		{55, "", Whole},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

func TestAnotherOnProc(t *testing.T) {
	procs := Procs{{21, "/proc", Whole}, {21, "/mnt/net", Own}, {21, "/mnt/sys", Common}, {55, "/jail/proc", Whole}, {56, "", Whole}, {21, "/mnt/4/proc", Whole}}
	for _, c := range []struct {
		dev  uint64
		path string
		link bool
		want bool
	}{
		{21, "/proc/1/status", false, true},
		{21, "/proc/1", false, true},
		{21, "/proc/1/status (deleted)", false, true},
		{21, "/proc", false, false},
		{21, "/proc/uptime", false, false},
		{21, "/proc/irq/5/smp_affinity", false, false},
		{21, "/proc/sys/net/ipv4/ip_forward", false, false},
		{21, "/proc/self", true, true},
		{21, "/proc/mounts", true, true},
		{21, "/proc/asound/card0", true, false},
		{21, "/mnt/net/dev", false, true},
		{21, "/mnt/net", false, true},
		{21, "/mnt/network/1", false, true}, // no known mount
		{21, "/mnt/sys/1", false, false},
		{21, "/mnt/4/proc/uptime", false, false},
		{21, "/mnt/4/proc/8", false, true},
		{55, "/jail/proc/1/fd/0", false, true},
		{55, "/jail/proc/cpuinfo", false, false},
		{55, "/proc/cpuinfo", false, true}, // another mount namespace
		{56, "/7/maps", false, true},
		{56, "/cpuinfo", false, false},
		{56, "/", false, false},
	} {
		if got := procs.Another(c.dev, c.path, c.link); got != c.want {
			t.Errorf("%d %s, link %v: %v, want %v", c.dev, c.path, c.link, got, c.want)
		}
	}
}

// folder makes a folder with links of every kind.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range map[string]string{
		"plain": "file", "folder": ".", "loop": "loop", "missing": "nowhere",
		"out": "/dev/stdout", "exe": "/proc/self/exe", "root": "/proc/self/root", "status": "/proc/self/status",
		"fd": "/proc/self/fd/9999", "tty": "/dev/tty", "around": "folder/./status", "unborn": "/proc/0123456/status", "up": "/proc/uptime",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLook(t *testing.T) {
	t.Chdir(folder(t))
	o := New(false)
	for _, c := range []struct {
		path    string
		flags   int
		want    error
		explain error // the meaning of the error, if that is different
	}{
		{"file", 0, nil, nil},
		{"plain", 0, nil, nil},
		{"folder/folder/plain", 0, nil, nil},
		{"up", 0, nil, nil},
		{"/proc/sys/kernel/pid_max", 0, nil, nil},
		{"/dev/null", 0, nil, nil},
		{"missing", 0, unix.ENOENT, nil},
		{"file/x", 0, unix.ENOTDIR, nil},
		{"loop", 0, unix.ELOOP, nil},
		{"loop", unix.O_NOFOLLOW, nil, nil},
		{"out", unix.O_NOFOLLOW, nil, nil},
		{"plain", unix.O_DIRECTORY, unix.ENOTDIR, nil},

		{"exe", 0, Magic, nil},
		{"root/etc", 0, Magic, nil},
		{"root/nowhere", 0, Magic, nil},
		{"status", 0, Process, nil},
		{"around", 0, Process, nil},
		{"/proc/self", unix.O_NOFOLLOW, Process, nil},
		{"/proc/self/fd/9999", 0, unix.ENOENT, Process},
		{"fd", 0, unix.ENOENT, Process},
		{"unborn", 0, unix.ENOENT, Process},
		{"tty", 0, Terminal, nil},
		{"tty", unix.O_NOFOLLOW, nil, nil},
	} {
		var st unix.Stat_t
		fd, err := o.Look(c.path, c.flags, &st)
		if err == nil {
			_ = unix.Close(fd)
		}
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s with %#x: %v, want %v", c.path, c.flags, err, c.want)
		}
		if err == nil {
			continue
		}
		want := c.want
		if c.explain != nil {
			want = c.explain
		}
		if got := o.Explain(c.path, c.flags, err); !errors.Is(got, want) {
			t.Errorf("%s with %#x: %v means %v, want %v", c.path, c.flags, err, got, want)
		}
		if _, another := errors.AsType[Another](want); another != errors.Is(want, ErrAnother) {
			t.Errorf("%v is ErrAnother: %v", want, !another)
		}
	}
}

// TestNothingLeft checks that a refused Look, and Explain, leave no descriptor open.
func TestNothingLeft(t *testing.T) {
	t.Chdir(folder(t))
	o := New(false)
	if _, err := o.Procs(); err != nil {
		t.Fatal(err)
	}
	lowest := func() int {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return fd
	}
	before := lowest()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var st unix.Stat_t
		if fd, err := o.Look(e.Name(), 0, &st); err == nil {
			_ = unix.Close(fd)
		} else {
			_ = o.Explain(e.Name(), 0, err)
			_ = o.Explain(e.Name(), 0, unix.ELOOP)
		}
	}
	if after := lowest(); after != before {
		t.Errorf("descriptor %d is left open", before)
	}
}

func TestFirstLink(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	if real, err := filepath.EvalSymlinks(dir); err != nil || real != dir {
		t.Skip("the temporary folder is behind a link itself")
	}
	for path, want := range map[string]string{
		"file": "", "nowhere": "", "nowhere/plain": "", ".": "", "./file": "", "": "", "/": "", "//": "", dir + "/file": "",
		"plain": "plain", "./plain": "./plain", "folder/file": "folder", "folder/": "folder", "folder/../plain": "folder",
		"../" + filepath.Base(dir) + "/plain": "../" + filepath.Base(dir) + "/plain",
		dir + "//folder//file":                dir + "//folder",
	} {
		if got := FirstLink(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestOld checks an opener without openat2: it refuses the same paths, except those with
// links, which FirstLink finds.
func TestOld(t *testing.T) {
	o := New(true)
	for path, want := range map[string]error{
		"/proc/uptime": nil, "/dev/null": nil, "/dev/tty": Terminal, "/proc/1/status": Process, "/nowhere": unix.ENOENT,
	} {
		var st unix.Stat_t
		fd, err := o.Look(path, 0, &st)
		if err == nil {
			_ = unix.Close(fd)
		}
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
