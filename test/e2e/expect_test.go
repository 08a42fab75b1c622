package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExpect holds that files which are there, and descriptors which are handed down, are
// looked at before anything is made: all differences are said, and a right one is opened.
func TestExpect(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	log, fifo := filepath.Join(dir, "log"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(log, []byte("12345"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(log, &st); err != nil {
		t.Fatal(err)
	}
	tree := func(of, path, given string) string {
		name := filepath.Join(dir, "tree.yaml")
		text := fmt.Sprintf(`version: 1
files:
  made: {type: reg, path: made, flags: [O_CREAT], content: x}
  log:  {type: reg, path: log, expect: %s}
  fifo: {type: fifo, path: fifo, ends: [r, w], expect: %s}
  in:   {type: inherit, key: given, expect: %s}
tasks: [{name: a, fds: {3: made, 4: log, 5: fifo.r, 6: fifo.w, 7: in}}]
`, of, path, given)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	regrowWith := func(args ...string) result {
		cmd := exec.Command(regrow, args...)
		cmd.ExtraFiles = opened(t, log)
		return wait(t, startBy(t, cmd, (*exec.Cmd).Start))
	}
	good := fmt.Sprintf("{kind: file, size: 5, mode: 0640, owner: [0, 0], inode: [%d, %d]}", st.Dev, st.Ino)
	goodFD := "{kind: file, size: 5, mode: 0640}"
	for _, c := range []struct {
		name            string
		log, fifo, from string
		status          int
		says            []string
	}{
		{"paths", "{kind: folder, size: 6, mode: 0600, owner: [1, 2], inode: [1, 1]}", "{mode: 0601}", goodFD, 1, []string{
			`:4:47: restore: file "log": expect.kind: expected folder, found file`,
			"expect.size: expected 6, found 5", "expect.mode: expected 0600, found 0640", "expect.owner: expected 1, found 0", "expect.owner: expected 2, found 0", "expect.inode: expected [1 1], found [",
			`restore: file "fifo": expect.mode: expected 0601, found 0600`,
		}},
		{"a descriptor", good, "{kind: fifo}", "{kind: char, flags: [O_WRONLY, O_APPEND], size: 7}", 2, []string{
			":6:52: files.in.expect.kind: expected char, found file (the caller's descriptor 3)", "files.in.expect.flags: expected [O_WRONLY, O_APPEND], found [", "files.in.expect.size: expected 7, found 5",
		}},
		{"right", good, "{kind: fifo, mode: 0600}", goodFD, 0, nil},
	} {
		path := tree(c.log, c.fifo, c.from)
		res := regrowWith("restore", "-d", "--inherit-fd", "given=3", path)
		if res.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", c.name, res.status, c.status, res.errors)
		}
		for _, words := range c.says {
			if !strings.Contains(res.errors, words) {
				t.Errorf("%s: nothing says %q:\n%s", c.name, words, res.errors)
			}
		}
		if c.status != 0 {
			if _, err := os.Lstat(filepath.Join(dir, "made")); err == nil {
				t.Errorf("%s: something was made", c.name)
			}
			noDescendants(t)
			continue
		}
		endTree(t)
	}
	path := tree("{size: 6}", "{kind: fifo}", goodFD)
	if err := os.Remove(filepath.Join(dir, "made")); err != nil {
		t.Fatal(err)
	}
	if res := run(t, "check", "--host", path); res.status != 3 || !strings.Contains(res.errors, "expect.size: expected 6, found 5") {
		t.Errorf("check --host: status %d: %s", res.status, res.errors)
	}
}
