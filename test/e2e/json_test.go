package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shape collects the paths of all keys of a value, with "N" for the numbers of a table,
// and the type at their ends: "tasks.table.N.file string".
func shape(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if _, err := strconv.Atoi(key); err == nil {
				key = "N"
			}
			shape(value, path+"."+key, into)
		}
	case []any:
		for _, value := range v {
			shape(value, path, into)
		}
	case string:
		into[path+" string"] = true
	case float64:
		into[path+" number"] = true
	case bool:
		into[path+" bool"] = true
	case nil:
		into[path+" null"] = true
	}
}

func shapeOf(t *testing.T, text string) map[string]bool {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	paths := map[string]bool{}
	shape(v, "", paths)
	return paths
}

// TestDocumentedJSON checks that the examples of the page have exactly the keys that
// the commands write, and that every key is explained.
func TestDocumentedJSON(t *testing.T) {
	page, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page2, found := strings.Cut(string(page), "\n## JSON\n")
	if !found {
		t.Fatal("the page has no section on JSON")
	}
	section, _, _ := strings.Cut(page2, "\n## ")
	tree := write(t, documented(t, "docs/commands.md", "name: worker, shares: {files: app}"))
	scenario, err := filepath.Abs("../scenarios/01-pipe-swapped.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		heading string
		args    []string
		status  int
	}{
		{"The report", []string{"restore", "-d", "--json", tree}, 0},
		{"The plan", []string{"plan", "--json", tree}, 0},
		{"Conflicts", []string{"conflicts", "--json", "--run", "--naive", "--strategy", "fdstore", tree}, 1},
		{"The gallery", []string{"conflicts", "--json", "--check", scenario}, 0},
	} {
		t.Run(c.heading, func(t *testing.T) {
			defer endTree(t)
			_, part, found := strings.Cut(section, "### "+c.heading+"\n")
			if !found {
				t.Fatalf("no heading %q", c.heading)
			}
			part, _, _ = strings.Cut(part, "\n### ")
			example := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(part)
			if example == nil {
				t.Fatal("no example")
			}
			args := c.args
			if c.heading != "The gallery" {
				args = append(slices.Clone(args), "--inherit-fd", "log=3", "--inherit-fd", "out=4")
			}
			res := wait(t, startGiven(t, opened(t, "/dev/null", filepath.Join(t.TempDir(), "out")), args...))
			if res.status != c.status {
				t.Fatalf("status %d, want %d: %s", res.status, c.status, res.errors)
			}
			documented, got := shapeOf(t, example[1]), shapeOf(t, res.out)
			if c.heading == "Conflicts" { // the example has the naive form alone, whose tables are empty, and one of two tasks
				maps.DeleteFunc(got, func(path string, _ bool) bool {
					return strings.Contains(path, ".table.N") || strings.HasSuffix(path, ".shares string")
				})
			}
			if c.heading == "The plan" { // not every step has a required result
				delete(got, ".tasks.steps.want number")
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(documented))); diff != "" {
				t.Errorf("real keys (-) and documented keys (+):\n%s", diff)
			}
		})
	}
}

// TestRelativeProgram runs a script by a relative path: its name must have no "/./",
// wherever regrow is started and however the folder is written. The root ends when the
// other script has ended and closed its pipe.
func TestRelativeProgram(t *testing.T) {
	path := write(t, "version: 1\nfiles: {out: {type: inherit, key: stdout}, null: {type: reg, path: /dev/null}, p: {type: pipe}}\n"+
		"tasks:\n  - {name: h, fds: {0: p.r, 1: out, 2: out}, run: [./sub/./hello.sh], children: [{name: byPath, fds: {0: null, 1: out, 2: out, 3: p.w}, run: [hello.sh], env: {PATH: './sub:/bin:/usr/bin'}, cwd: ./}]}\n")
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "hello.sh"), []byte("#!/bin/sh\necho \"$0\"\ncat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, file string }{
		{dir, "tree.yaml"},
		{dir, "./tree.yaml"},
		{filepath.Dir(dir), "./" + filepath.Base(dir) + "/./tree.yaml"},
		{"/", path},
	} {
		cmd := exec.Command(regrow, "restore", c.file)
		cmd.Dir = c.from
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		want := strings.Repeat(filepath.Join(dir, "sub", "hello.sh")+"\n", 2)
		if text, err := os.ReadFile(out.Name()); err != nil || string(text) != want {
			t.Errorf("%+v: the script sees %q, want %q (%v)", c, text, want, err)
		}
		endTree(t)
	}
}
