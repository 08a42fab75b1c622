package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHeldBy holds the words for holders in a /proc of files: what needs a process
// of a certain kind is tried for real in test/e2e.
func TestHeldBy(t *testing.T) {
	proc := t.TempDir()
	put := func(pid, tgid int, comm, state string, ppid, group, session, threads int) {
		t.Helper()
		dir := filepath.Join(proc, fmt.Sprint(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		stat := fmt.Sprintf("%d (%s) %s %d %d %d 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 %d 0 100\n", pid, comm, state, ppid, group, session, threads)
		for name, text := range map[string]string{"stat": stat, "status": fmt.Sprintf("Name:\t%s\nTgid:\t%d\n", comm, tgid)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(10, 10, "a) b (c", "S", 1, 10, 10, 1)
	put(11, 11, "gone", "Z", 10, 10, 10, 1)
	put(12, 12, "orphan", "Z", 0, 10, 10, 1)
	put(13, 13, "half", "Z", 10, 10, 10, 3)
	put(14, 10, "worker", "S", 1, 10, 10, 1)
	put(15, 15, "member", "S", 1, 16, 17, 1)
	for _, c := range []struct {
		pid  int
		want string
	}{
		{10, ` by "a) b (c"`},
		{11, ` by "gone", which has ended and was not waited for by its parent "a) b (c" (pid 10)`},
		{12, ` by "orphan", which has ended and was not waited for`},
		{13, ` by "half", whose main thread has ended and others have not`},
		{14, ` by "worker", a thread of "a) b (c" (pid 10)`},
		{16, ` as the process group of "member" (pid 15), whose leader has ended`},
		{17, ` as the session of "member" (pid 15), whose leader has ended`},
		{18, ", and /proc shows nobody who has it: it was freed meanwhile, or is hidden (hidepid)"},
	} {
		if got := heldBy(proc, c.pid); got != c.want {
			t.Errorf("%d: %q, want %q", c.pid, got, c.want)
		}
	}
	if got := heldBy(filepath.Join(proc, "none"), 10); strings.Contains(got, "nobody") {
		t.Errorf("without /proc: %q", got)
	}
}
