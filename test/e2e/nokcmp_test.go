package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWithoutKcmp tries trees where a sandbox refuses kcmp, as the profiles of containers
// do: regrow cannot tell which open file a descriptor has, and must not report it.
func TestWithoutKcmp(t *testing.T) {
	dir := t.TempDir() // one scenario of the gallery, as a file and in a folder
	scenario := filepath.Join(dir, "scenario.yaml")
	text, err := os.ReadFile("../scenarios/01-pipe-swapped.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(scenario, text, 0o644); err != nil {
		t.Fatal(err)
	}
	tasks, _ := crowd()
	shared := write(t, sharedFiles+tasks)
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			sandbox := refuses(t, unix.SYS_KCMP, -1, errno)
			why := "kcmp is refused by a sandbox"
			for _, args := range [][]string{{"conflicts", "--run", scenario}, {"conflicts", "--run", "--json", "--naive", shared}, {"conflicts", "--check", scenario}, {"conflicts", "--check", dir}} {
				res := wait(t, start(t, sandbox, args...))
				if res.status != 3 || !strings.Contains(res.errors, why) || !strings.Contains(res.errors, "kcmp: "+errno.Error()) || !strings.Contains(res.errors, "--cap-add SYS_PTRACE") {
					t.Errorf("%v: status %d, want 3 with the remedy: %s%s", args, res.status, res.out, res.errors)
				}
				table, _, _ := strings.Cut(res.out, "\n\n")
				for _, not := range []string{"breaks", "as predicted", "holds"} {
					if strings.Contains(table, not) {
						t.Errorf("%v: it prints %q about something not visible:\n%s", args, not, res.out)
					}
				}
				if args[1] == "--check" && !strings.Contains(res.out, "6 restores predicted and tried: 0 as expected") {
					t.Errorf("%v: it was not tried:\n%s", args, res.out)
				}
				noDescendants(t)
			}

			res := wait(t, start(t, sandbox, "restore", "-d", "--json", shared))
			rep := report(t, res)
			for _, task := range rep.Tasks {
				if task.Shares != nil {
					t.Errorf("task %q shares with %q, which is not visible", task.Name, task.Shares.Files)
				}
			}
			if !strings.HasPrefix(res.errors, "regrow: warning: the report does not say which tasks share a table: "+why) || strings.Count(res.errors, "\n") != 1 {
				t.Errorf("regrow prints %q", res.errors)
			}
			endTree(t)
			// Without a report, or with warnings off, there is no warning.
			for _, args := range [][]string{{"-d", shared}, {"-d", "--json", "--log-level", "error", shared}} {
				if res := wait(t, start(t, sandbox, append([]string{"restore"}, args...)...)); res.status != 0 || res.errors != "" {
					t.Errorf("%v: status %d, %q", args, res.status, res.errors)
				}
				endTree(t)
			}
		})
	}
}

// TestSharersThatEnd ends one of the tasks that share a table before the report is made:
// the report must still have the sharing of the others.
func TestSharersThatEnd(t *testing.T) {
	path := write(t, sharedFiles+`
  - name: main
    fds: {0: a}
    children:
      - {name: gone, shares: {files: main}, run: ["true"]}
      - {name: one, shares: {files: main}}
      - {name: two, shares: {files: main}}
`)
	for range 10 {
		rep := report(t, run(t, "restore", "-d", "--json", path))
		for _, task := range rep.Tasks[2:] {
			if task.Shares == nil || task.Shares.Files != "main" {
				t.Errorf("%s shares %v, want the table of main", task.Name, task.Shares)
			}
		}
		endTree(t)
	}
}
