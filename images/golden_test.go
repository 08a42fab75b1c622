package images

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

var update = flag.Bool("update", false, "rewrite the golden messages")

// TestBad checks the message of each bad description.
func TestBad(t *testing.T) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(paths) < 40 {
		t.Fatalf("only %d bad descriptions: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			text, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close()
			_, err = Decode(text, "tree.yaml", "")
			if _, ok := errors.AsType[*tasktree.InvalidError](err); !ok {
				t.Fatalf("got %v, want an InvalidError", err)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, readErr := os.ReadFile(golden)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

// TestScalars checks scalars that YAML itself would convert to other values.
func TestScalars(t *testing.T) {
	tree, err := Decode(strings.NewReader("\ufeff"+`version: 1
files:
  null: {type: pipe, content: !!binary AAEC}
  on: &x {type: reg, path: 1e3, flags: [O_RDWR, O_CREAT], mode: 0640}
  copy: *x
tasks:
  - name: 10
    fds: {0: null.r, "1": on, 2: {file: copy, cloexec: true}}
    run: [sleep, 10, "", ~x, null]
    env: {PORT: 8080, EMPTY: ""}
`), "tree.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	task := tree.Root
	var run []string
	for _, arg := range task.Run {
		run = append(run, arg.Value)
	}
	if diff := cmp.Diff([]string{"sleep", "10", "", "~x", "null"}, run); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if task.Name != "10" || task.Env[0].Value != "8080" || task.Env[1].Value != "" || !task.FDs[2].Cloexec {
		t.Errorf("task %+v", task)
	}
	if task.FDs[1].Open == task.FDs[2].Open {
		t.Error("an alias of an entry must be an open file of its own")
	}
	if pos := task.FDs[1].Pos; pos != (tasktree.Pos{Line: 8, Col: 22}) {
		t.Errorf("position %v", pos)
	}
}

// TestModes checks which scalars are modes, and their values.
func TestModes(t *testing.T) {
	for mode, want := range map[string]int64{
		"0644": 0o644, "0o644": 0o644, `"644"`: 0o644, `"0644"`: 0o644, `"0o644"`: 0o644, "'0o0'": 0, "0": 0, "07777": 0o7777,
		"644": -1, "0o": -1, `"0o"`: -1, `"0o0o644"`: -1, `"0O644"`: -1, `"0x1a4"`: -1, "0o10000": -1, `""`: -1, "-0644": -1,
	} {
		text := "version: 1\nfiles: {f: {type: reg, path: /x, flags: [O_CREAT], mode: " + mode + "}}\ntasks: [{name: a, fds: {0: f}}]\n"
		tree, err := Decode(strings.NewReader(text), "tree.yaml", "")
		switch {
		case err != nil && (want >= 0 || !strings.Contains(err.Error(), "octal mode")):
			t.Errorf("mode: %s: %v", mode, err)
		case err == nil && tree.Files[0].Spec.(*kind.Reg).Mode.Value != want:
			t.Errorf("mode: %s is %#o, want %#o", mode, tree.Files[0].Spec.(*kind.Reg).Mode.Value, want)
		}
	}
}

// TestDeep checks that deep nesting is refused quickly and without a crash.
func TestDeep(t *testing.T) {
	for _, unit := range []string{"[", "{a: ", "- "} {
		if _, err := Decode(strings.NewReader(strings.Repeat(unit, 50_000)), "deep.yaml", ""); err == nil {
			t.Errorf("50,000 times %q is accepted", unit)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\nfiles:\n")
	for range 1 {
		text.WriteString("  f: {type: reg, path: /dev/null}\n")
	}
	text.WriteString("tasks:\n  - name: root\n    children:\n")
	for i := range 1000 {
		text.WriteString("      - name: t" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + "\n        fds: {0: f, 1: f, 2: f, 3: f, 4: f, 5: f, 6: f, 7: f, 8: f, 9: f}\n")
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(strings.NewReader(text.String()), "bench.yaml", ""); err != nil {
			b.Fatal(err)
		}
	}
}

// descriptions returns the descriptions of all tests and examples, as seeds for fuzzing.
func descriptions(f *testing.F) (texts []string) {
	f.Helper()
	paths, _ := filepath.Glob("testdata/*/*.yaml")
	more, _ := filepath.Glob("../examples/*.yaml")
	for _, path := range append(paths, more...) {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}
