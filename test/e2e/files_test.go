package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMadeFiles compares the files that a restore makes with their description, under a
// umask that removes all permissions.
func TestMadeFiles(t *testing.T) {
	t.Run("this user", func(t *testing.T) { madeFiles(t, "", os.Geteuid()) })
	t.Run("an ordinary user", func(t *testing.T) {
		needRoot(t)
		madeFiles(t, asNobody, nobodyID)
	})
}

func madeFiles(t *testing.T, shell string, uid int) {
	dir := openFolder(t)
	if err := os.Symlink("target", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("a longer text"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(there, uid, -1); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		path, entry string
		mode        uint32
		content     string
	}{
		{"a", "flags: [O_RDWR, O_CREAT]", 0o644, ""},
		{"b", "flags: [O_RDWR, O_CREAT], mode: 04755, content: setuid", 0o4755, "setuid"},
		{"c", "flags: [O_RDONLY, O_CREAT], mode: 0444, content: read only", 0o444, "read only"},
		{"d", "flags: [O_WRONLY, O_APPEND, O_CREAT], mode: 0, content: none", 0, "none"},
		{"e", "flags: [O_RDWR, O_CREAT, O_TRUNC], content: kept", 0o644, "kept"},
		{"f", "flags: [O_RDWR, O_CREAT, O_EXCL], mode: 0o2770, offset: 3, content: exclusive", 0o2770, "exclusive"},
		{"link", "flags: [O_RDWR, O_CREAT], content: through a link", 0o644, "through a link"},
		{"there", "flags: [O_RDWR, O_CREAT, O_TRUNC], mode: 0777", 0o640, ""},
	}
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n")
	for _, c := range cases {
		fmt.Fprintf(&b, "  %s: {type: reg, path: %s, %s}\n", c.path, filepath.Join(dir, c.path), c.entry)
	}
	b.WriteString("tasks:\n  - name: root\n    fds:\n")
	for i, c := range cases {
		fmt.Fprintf(&b, "      %d: %s\n", i, c.path)
	}
	path := save(t, openFolder(t), b.String())
	if res := wait(t, start(t, "umask 0777; "+shell, "restore", "-d", path)); res.status != 0 {
		t.Fatalf("status %d: %s", res.status, res.errors)
	}
	defer endTree(t)
	for _, c := range cases {
		path := filepath.Join(dir, c.path)
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Error(err)
			continue
		}
		if err := os.Chmod(path, 0o600); err != nil { // the owner may not be allowed to read it
			t.Error(err)
		}
		text, err := os.ReadFile(path)
		if got := st.Mode & 0o7777; got != c.mode || string(text) != c.content {
			t.Errorf("%s: mode %#o, content %q (%v); want %#o, %q", c.path, got, text, err, c.mode, c.content)
		}
	}
}

// TestTruncatesAllOrNone has a file that cannot be cut. Then no other file may be cut.
func TestTruncatesAllOrNone(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("keep"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := filepath.Join(dir, "b")
	if err := setAppendOnly(b, true); err != nil {
		if olderThan(t, "6.6") && os.Getenv("REGROW_TEST_VM") == "1" {
			skipped++
			t.Skip("needs a file system with append-only files; a machine has tmpfs, which has them since Linux 6.6")
		}
		need(t, fmt.Sprintf("a file system with append-only files (%v)", err))
	}
	defer func() {
		if err := setAppendOnly(b, false); err != nil {
			t.Error(err)
		}
	}()
	res := run(t, "restore", write(t, fmt.Sprintf(`version: 1
files:
  a: {type: reg, path: %[1]s/a, flags: [O_RDWR, O_TRUNC]}
  b: {type: reg, path: %[1]s/b, flags: [O_WRONLY, O_APPEND, O_TRUNC]}
tasks: [{name: root, fds: {3: a, 4: b}}]
`, dir)))
	if res.status != 125 || !strings.Contains(res.errors, `tree.yaml:4:`) || !strings.Contains(res.errors, `truncate file "b"`) {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "a")); string(text) != "keep" {
		t.Errorf("a has %q now", text)
	}
	noDescendants(t)
}

// TestMadeWhereOpenMakes makes a file through a dangling link whose target contains
// another link and "..", which only the kernel can resolve.
func TestMadeWhereOpenMakes(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/sub", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"run/over": "../a/sub", "a/dangling": "target"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "run", "tree.yaml")
	if err := os.WriteFile(path, []byte(`version: 1
files: {f: {type: reg, path: over/../dangling, flags: [O_RDWR, O_CREAT], content: made}}
tasks: [{name: root, fds: {3: f}, run: ["true"]}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if res := run(t, "restore", path); res.status != 0 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "a", "target")); string(text) != "made" {
		t.Errorf("the link's target has %q, %v", text, err)
	}
	noDescendants(t)
}

// setAppendOnly sets the append-only flag, like chattr +a, see ioctl_iflags(2).
func setAppendOnly(path string, on bool) error {
	const appendOnly = 0x20 // FS_APPEND_FL of linux/fs.h
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	flags &^= appendOnly
	if on {
		flags |= appendOnly
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}

// TestOpenBlocks has a file on which another process (this one) has a lease, so opening
// it blocks, in regrow and in a task. --timeout and TERM must still work.
func TestOpenBlocks(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "leased"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lease(t, f)
	for name, flags := range map[string]string{"regrow": "O_RDWR, O_CREAT", "task": "O_RDWR"} {
		path := write(t, fmt.Sprintf(`version: 1
files:
  made: {type: reg, path: %[1]s/made, flags: [O_RDWR, O_CREAT]}
  f: {type: reg, path: %[1]s/leased, flags: [%[2]s]}
tasks: [{name: root, fds: {3: made, 4: f}}]
`, dir, flags))
		for what, args := range map[string][]string{
			"timed out before release":             {"restore", "--timeout", "300ms", path},
			"canceled before release: got SIGTERM": {"restore", path},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				lease(t, f)
				r := start(t, "", args...)
				if len(args) == 2 {
					within(t, "the file that is made", func() bool {
						_, err := os.Stat(filepath.Join(dir, "made"))
						return err == nil
					})
					within(t, "the lease to be broken", func() bool { return leased(t, f) == "BREAKING" })
					r.signal(t, unix.SIGTERM)
				}
				res := wait(t, r)
				if res.status != 125 || !strings.Contains(res.errors, what) {
					t.Errorf("status %d: %s", res.status, res.errors)
				}
				if leased(t, f) == "" {
					t.Error("regrow has waited until the kernel broke the lease")
				}
				if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
					t.Error("the created file is still there")
				}
				noDescendants(t)
			})
		}
	}
}

// lease takes a new lease on a file, which the kernel has not begun to break.
func lease(t *testing.T, f *os.File) {
	t.Helper()
	_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK) // it fails if there is none
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		need(t, fmt.Sprintf("a file system with leases (%v)", err))
	}
}

// leased returns the state of a file's lease in /proc/locks, see proc_locks(5): ACTIVE;
// BREAKING when a process opens the file; "" when that process has waited for
// lease-break-time (45 s) and the kernel has removed the lease.
func leased(t *testing.T, f *os.File) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(locks)) {
		// 3: LEASE  ACTIVE    WRITE 4711 00:1f:815 0 EOF
		if fields := strings.Fields(line); len(fields) > 5 && fields[1] == "LEASE" && strings.HasSuffix(fields[5], fmt.Sprintf(":%d", st.Ino)) {
			return fields[2]
		}
	}
	return ""
}
