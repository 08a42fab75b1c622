package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/images"
	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
)

const scenarios = "../scenarios"

// TestGallery tries every scenario with every strategy: both the predicted and the real
// outcome must be as expected.
func TestGallery(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarios, "*.yaml"))
	if err != nil || len(files) < 22 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			defer endTree(t)
			res := run(t, "conflicts", "--check", file)
			t.Log(res.out)
			if res.status == 3 {
				need(t, "the privilege for pid namespaces: "+res.errors)
			}
			want := fmt.Sprintf("\n1 scenario, %d restores predicted and tried: %[1]d as expected\n", 2*len(tasktree.Strategies))
			if res.status != 0 || !strings.HasSuffix(res.out, want) {
				t.Errorf("status %d, and the output does not end with %q: %s", res.status, want, res.errors)
			}
			if left := children(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestScenariosAreExplained checks the comment at the head of each scenario, and that the
// gallery is meaningful: careful forms hold or are refused, and in most scenarios a naive
// form breaks.
func TestScenariosAreExplained(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(scenarios, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	broken := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\nversion:")
		for _, part := range []string{"# What happened: ", "# Reported: ", "# Here: "} {
			if !strings.Contains(head, "\n"+part) {
				t.Errorf("%s: no %q in the comment at its head", file, part)
			}
		}
		tree, err := images.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Scenario == nil || len(tree.Scenario.Expect) != 2*len(tasktree.Strategies) {
			t.Fatalf("%s: expects nothing", file)
		}
		for _, e := range tree.Scenario.Expect {
			switch {
			case !e.Naive && e.Outcome.Value == tasktree.Breaks:
				t.Errorf("%s: a careful form is expected to break", file)
			case e.Outcome.Value == tasktree.Breaks:
				broken[file] = true
			}
		}
	}
	if len(broken) < len(files)*3/4 {
		t.Errorf("a form breaks in only %d of %d scenarios", len(broken), len(files))
	}
}

// TestStrategyWords checks that descriptions and package restore have the same names of
// strategies.
func TestStrategyWords(t *testing.T) {
	var names []string
	for _, s := range restore.Strategies() {
		names = append(names, s.String())
	}
	if !slices.Equal(names, tasktree.Strategies) {
		t.Errorf("restore has %q, descriptions have %q", names, tasktree.Strategies)
	}
}

// TestCallerOfScenario has a scenario with all keys of caller, and checks the process
// that restores from inside.
func TestCallerOfScenario(t *testing.T) {
	path := filepath.Join(t.TempDir(), "caller.yaml")
	description := `version: 1
caller: {nofile: 200, open: 40, inherit_fd: {log: 7, far: 61}, service_fd: 9}
files:
  log: {type: inherit, key: log}
  far: {type: inherit, key: far}
tasks:
  - name: root
    fds: {9: log, 61: log, 7: far}
`
	if err := os.WriteFile(path, []byte(description), 0o644); err != nil {
		t.Fatal(err)
	}
	res := run(t, "conflicts", "--run", "--json", "--naive", path)
	if res.status != 1 { // the naive form overwrites the store at 9
		t.Fatalf("status %d: %s", res.status, res.errors)
	}
	var lab struct {
		Forms []struct {
			Strategy   string
			Naive      bool
			Refused    string
			Prediction struct {
				Collisions []parts.Collision
			}
			Reality struct {
				Tasks []parts.Outcome
			}
			Disagree []string
		}
	}
	if err := json.Unmarshal([]byte(res.out), &lab); err != nil {
		t.Fatalf("%v: %s", err, res.out)
	}
	if len(lab.Forms) != 2*len(tasktree.Strategies) {
		t.Errorf("%d forms", len(lab.Forms))
	}
	for _, f := range lab.Forms {
		if f.Refused != "" || len(f.Disagree) > 0 || len(f.Reality.Tasks) != 1 {
			t.Errorf("%s, naive %v: refused %q, disagrees %v", f.Strategy, f.Naive, f.Refused, f.Disagree)
			continue
		}
		want := map[int]parts.Held{9: {File: "log"}, 61: {File: "log"}, 7: {File: "far"}}
		if got := f.Reality.Tasks[0].Table; !f.Naive && !equalTables(got, want) {
			t.Errorf("%s: %v, want %v", f.Strategy, got, want)
		}
		if hit := slices.ContainsFunc(f.Prediction.Collisions, func(c parts.Collision) bool { return c.FD == 9 && strings.HasPrefix(c.Was, "[") }); f.Naive && f.Strategy == "fdstore" && !hit {
			t.Errorf("naive fdstore: nothing happens to the store at 9: %v", f.Prediction.Collisions)
		}
	}
	fromPipe := wait(t, start(t, "cat <<'END' |\n"+description+"END\n\"$0\" \"$@\"; exit $?", "conflicts", "--run", "--json", "--naive", "-"))
	if want := strings.ReplaceAll(res.out, path, `\u003cstdin\u003e`); fromPipe.status != res.status || fromPipe.out != want {
		t.Errorf("on standard input: status %d, %s\n%s", fromPipe.status, fromPipe.errors, cmp.Diff(want, fromPipe.out))
	}
	itself := strings.Replace(description, "log: 7", "log: 0", 1)
	if res := wait(t, start(t, "cat <<'END' |\n"+itself+"END\n\"$0\" \"$@\"; exit $?", "conflicts", "-")); res.status != 2 || !strings.Contains(res.errors, "the description is read; write the description to a file") {
		t.Errorf("a caller with descriptor 0 on standard input: status %d: %s", res.status, res.errors)
	}
	tooLow := strings.Replace(description, "nofile: 200", "nofile: 61", 1)
	if err := os.WriteFile(path, []byte(tooLow), 0o644); err != nil {
		t.Fatal(err)
	}
	if res := run(t, "conflicts", path); res.status != 1 || !strings.Contains(res.out, "the hard RLIMIT_NOFILE is 61") {
		t.Errorf("status %d with the limit of 61: %s%s", res.status, res.out, res.errors)
	}
}

func equalTables(a, b map[int]parts.Held) bool {
	if len(a) != len(b) {
		return false
	}
	for n, h := range a {
		if b[n] != h {
			return false
		}
	}
	return true
}

// TestShrinkSharers shrinks a tree in which the helpers of 25 sharers collide: one sharer
// must be left.
func TestShrinkSharers(t *testing.T) {
	res := run(t, "conflicts", "--shrink", "--naive", filepath.Join(scenarios, "11-same-place-twice.yaml"))
	small := write(t, res.out)
	tree, err := images.Load(small)
	if err != nil || res.status != 0 {
		t.Fatalf("status %d, %v: %s", res.status, err, res.errors)
	}
	if tasks := tree.Tasks(); len(tasks) != 3 || !slices.ContainsFunc(tasks, (*tasktree.Task).Sharer) || tree.Scenario == nil || tree.Scenario.Expect != nil {
		t.Errorf("shrunk to\n%s", res.out)
	}
	if res := run(t, "conflicts", "--run", "--naive", small); res.status != 1 || !strings.Contains(res.out, "as predicted") {
		t.Errorf("status %d with the small tree: %s%s", res.status, res.out, res.errors)
	}
}

// TestShrink shrinks 300 tasks for each strategy, and tries the result.
func TestShrink(t *testing.T) {
	var text strings.Builder
	text.WriteString("version: 1\nfiles:\n")
	for i := range 200 {
		fmt.Fprintf(&text, "  f%d: {type: reg, path: /dev/null}\n", i)
	}
	text.WriteString("tasks:\n  - name: root\n    children:\n")
	for i := range 299 {
		fmt.Fprintf(&text, "      - {name: t%d, fds: {", i)
		for n := range 10 {
			fmt.Fprintf(&text, "%d: f%d, ", (n*7+i)%13, (i*31+n*17)%200)
		}
		text.WriteString("}}\n")
	}
	dir := t.TempDir()
	large, small := filepath.Join(dir, "large.yaml"), filepath.Join(dir, "small.yaml")
	if err := os.WriteFile(large, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, s := range tasktree.Strategies {
		if res := run(t, "conflicts", "--shrink", "--strategy", s, large); res.status != 1 || !strings.Contains(res.errors, "no conflict with the strategy "+s) {
			t.Errorf("%s: status %d: %s%s", s, res.status, res.out, res.errors)
		}
		res := run(t, "conflicts", "--shrink", "--naive", "--strategy", s, large)
		if res.status != 0 {
			t.Errorf("naive %s: status %d: %s", s, res.status, res.errors)
			continue
		}
		t.Log(res.out)
		if err := os.WriteFile(small, []byte(res.out), 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := images.Load(small)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(tree.Tasks()); n > 2 {
			t.Errorf("naive %s: %d tasks", s, n)
		}
		if res := run(t, "conflicts", "--run", "--naive", "--strategy", s, small); res.status != 1 || !strings.Contains(res.out, "as predicted") {
			t.Errorf("naive %s: status %d with the small tree: %s%s", s, res.status, res.out, res.errors)
		}
	}
}
