package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCaseAccessModeOfWhatIsGiven hands down a file that is open for writing only where
// one for reading and writing is expected: nothing may start.
func TestCaseAccessModeOfWhatIsGiven(t *testing.T) {
	path := caseFile(t, "access-mode-of-what-is-given", map[string]string{"data": ""})
	data := filepath.Join(filepath.Dir(path), "data")
	for _, c := range []struct {
		redirect, says string
		status         int
	}{
		{"exec 9>", "expect.flags: expected [O_RDWR], found [O_WRONLY]", 2},
		{"exec 9<", "expect.flags: expected [O_RDWR], found [O_RDONLY]", 2},
		{"exec 9<>", "", 0},
	} {
		res := wait(t, start(t, c.redirect+data, "restore", "--inherit-fd", "in=9", path))
		if res.status != c.status || !strings.Contains(res.errors, c.says) || (c.status == 0) != strings.Contains(res.out, "flags:") {
			t.Errorf("%s: status %d, %q, %s", c.redirect, res.status, res.out, res.errors)
		}
	}
	noDescendants(t)
}

// TestCaseDeletedButOpen opens a file twice that has no path any more.
func TestCaseDeletedButOpen(t *testing.T) {
	path := caseFile(t, "deleted-but-open", nil)
	eachStrategy(t, func(t *testing.T, strategy string) {
		pid := detached(t, path, "--strategy", strategy).Tasks[0].HostPID
		defer endTree(t)
		var inodes [2]uint64
		for i, flags := range []string{"0100002", "0100000"} { // O_LARGEFILE, as every open file has
			fd := fmt.Sprintf("/proc/%d/fd/%d", pid, 3+i)
			var st unix.Stat_t
			if err := unix.Stat(fd, &st); err != nil {
				t.Fatal(err)
			}
			inodes[i] = st.Ino
			if st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
				t.Errorf("fd %d: mode %o, %d links", 3+i, st.Mode, st.Nlink)
			}
			if link, err := os.Readlink(fd); link != filepath.Join(filepath.Dir(path), "work.tmp (deleted)") {
				t.Errorf("fd %d is %q, %v", 3+i, link, err)
			}
			if text, err := os.ReadFile(fd); string(text) != "ghost" {
				t.Errorf("fd %d has %q, %v", 3+i, text, err)
			}
			info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, 3+i))
			if !strings.Contains(string(info), "flags:\t"+flags+"\n") {
				t.Errorf("fd %d: want flags %s: %s, %v", 3+i, flags, info, err)
			}
		}
		if inodes[0] != inodes[1] {
			t.Errorf("two inodes: %v", inodes)
		}
		if same, err := sameFile(pid, 3, pid, 4); same || err != nil {
			t.Errorf("3 and 4 are one open file: %v, %v", same, err)
		}
	})
	if left, err := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// TestCaseSizeThatIsExpected restores over a file that has the size that is expected, and
// another one.
func TestCaseSizeThatIsExpected(t *testing.T) {
	for size, status := range map[int]int{574: 0, 573: 1, 0: 1} {
		path := caseFile(t, "size-that-is-expected", map[string]string{"app.log": strings.Repeat("x", size)})
		res := run(t, "restore", "-d", path)
		says := fmt.Sprintf("expect.size: expected 574, found %d", size)
		if res.status != status || strings.Contains(res.errors, says) != (status != 0) {
			t.Errorf("%d bytes: status %d: %s", size, res.status, res.errors)
		}
		endTree(t)
	}
}
