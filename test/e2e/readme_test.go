package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmeShort checks the length of the page.
func TestReadmeShort(t *testing.T) {
	if n := strings.Count(readme(t), "\n"); n >= 200 {
		t.Errorf("README.md has %d lines", n)
	}
}

// TestReadmeTree checks that README's description does what README shows.
func TestReadmeTree(t *testing.T) {
	path := write(t, documented(t, "README.md", "worker2"))
	dir := filepath.Dir(path)
	pidfile := filepath.Join(dir, "tree.pid")
	rep := report(t, run(t, "restore", "--detach", "--json", "--pidfile", pidfile, path))
	defer endTree(t)
	log := awaitText(t, filepath.Join(dir, "app.log"))
	_, shown, _ := strings.Cut(readme(t), "$ cat app.log\n")
	shown, _, _ = strings.Cut(shown, "$ ")
	if log != shown || shown == "" {
		t.Errorf("the log has %q, README shows %q", log, shown)
	}
	if got, err := os.ReadFile(pidfile); err != nil || string(got) != fmt.Sprintf("%d\n", rep.Tasks[0].HostPID) {
		t.Errorf("the pid file has %q, %v; the root is %d", got, err, rep.Tasks[0].HostPID)
	}
	var got []byte
	within(t, "worker2 runs sleep", func() (there bool) {
		var err error
		if got, err = exec.Command("ps", "--forest", "-o", "pid,args", "-s", fmt.Sprint(rep.Tasks[0].HostPID)).CombinedOutput(); err != nil {
			need(t, "ps: "+err.Error())
		}
		return !strings.Contains(string(got), "read job")
	})
	pids := regexp.MustCompile(`(?m)^ *\d+ `)
	_, want, _ := strings.Cut(readme(t), "tree.pid)\n  PID COMMAND\n")
	want, _, _ = strings.Cut(want, "$ ")
	_, tasks, _ := strings.Cut(string(got), "\n")
	if tasks, want = pids.ReplaceAllString(tasks, ""), pids.ReplaceAllString(want, ""); tasks != want || want == "" {
		t.Errorf("ps shows\n%sREADME shows\n%s", tasks, want)
	}
}

// awaitText waits until a file contains a line, and returns it.
func awaitText(t *testing.T, path string) (line string) {
	t.Helper()
	within(t, "a line in "+path, func() bool {
		text, err := os.ReadFile(path)
		line = string(text)
		return err == nil && strings.HasSuffix(line, "\n")
	})
	return line
}

// TestReadmeMistakes checks README's output for a wrong description.
func TestReadmeMistakes(t *testing.T) {
	_, shown, _ := strings.Cut(readme(t), "$ regrow check tree.yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	path := write(t, `version: 1
files:
  log: {type: reg, path: app.log, flags: [O_CREAT], mode: 640}
tasks:
  - name: a
    fds: {0: lgo}
`)
	res := run(t, "check", path)
	if got := strings.ReplaceAll(res.errors, path, "tree.yaml"); res.status != 2 || got != shown {
		t.Errorf("status %d\n%sREADME shows\n%s", res.status, got, shown)
	}
}

// TestReadmeConflict checks README's output for a conflict, which is tried, too.
func TestReadmeConflict(t *testing.T) {
	const scenario = "test/scenarios/01-pipe-swapped.yaml"
	_, shown, _ := strings.Cut(readme(t), "$ regrow conflicts --naive --run --strategy fdstore "+scenario+"\n")
	shown, _, _ = strings.Cut(shown, "```")
	// Each signal that the caller ignores would cost one more call, see resetIgnoredSignals.
	res := run(t, "conflicts", "--naive", "--run", "--strategy", "fdstore", "../../"+scenario)
	if got := strings.ReplaceAll(res.out, "../../", ""); res.status != 1 || got != shown {
		t.Errorf("status %d\n%s%sREADME shows\n%s", res.status, got, res.errors, shown)
	}
	noDescendants(t)
}

// TestReadmeModule builds a program of another module from README's lines for go.mod and
// its Go code, and runs the piece that restores a tree.
func TestReadmeModule(t *testing.T) {
	words, own := modules(t)
	pieces := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(pieces) != 3 {
		t.Fatalf("README has %d pieces of Go", len(pieces))
	}
	_, requires, _ := strings.Cut(own, "\n") // and the version of Go; "go mod tidy" adds them
	out := runOther(t, map[string]string{
		"go.mod":    "module other\n" + requires + words,
		"main.go":   program(pieces),
		"tree.yaml": "version: 1\ntasks: [{name: a, run: [sh, -c, exit 7]}]\n",
	}, "-mod=mod")
	if out != "status 7\n" {
		t.Errorf("it prints %q", out)
	}
}

// program makes a program of the pieces: each is a function that checks its errors, and
// the last one is run.
func program(pieces [][]string) string {
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n\t\"context\"\n\t\"fmt\"\n\t\"os\"\n\n\t\"regrow/fdstore\"\n\t\"regrow/images\"\n\t\"regrow/restore\"\n)\n\n" +
		"var listener = os.Stdin\n\nfunc main() { fmt.Println(\"status\", piece2().(restore.Status).ExitStatus()) }\n\n" +
		"func check(err error) {\n\tif err != nil {\n\t\tpanic(err)\n\t}\n}\n\n")
	assigned := regexp.MustCompile(`(?m)^(\w+), err := .*$`)
	for i, piece := range pieces {
		last := ""
		body := assigned.ReplaceAllStringFunc(piece[1], func(line string) string {
			last, _, _ = strings.Cut(line, ",")
			return line + "\n\tcheck(err)"
		})
		fmt.Fprintf(&b, "func piece%d() any {\n%s\treturn %s\n}\n\n", i, body, last)
	}
	return b.String()
}
