package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// storeProgram is a program that passes a store to itself, started again, and gets a file
// from it.
const storeProgram = `package main

import (
	"fmt"
	"io/fs"
	"errors"
	"os"
	"os/exec"

	"regrow/fdstore"
)

func main() {
	store, err := fdstore.Inherited()
	if errors.Is(err, fs.ErrNotExist) {
		give()
		return
	}
	check(err)
	out, err := store.GetNamed("output")
	check(err)
	fmt.Fprintln(out, "taken by name")
}

func give() {
	store, err := fdstore.New(fdstore.Options{})
	check(err)
	_, err = store.AddNamed("output", os.Stdout)
	check(err)
	cmd := exec.Command(os.Args[0])
	check(store.AddToCmd(cmd))
	check(cmd.Run())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
`

// modules returns README's lines for go.mod, with the path of this checkout, and the
// checkout's own go.mod.
func modules(t *testing.T) (words, own string) {
	t.Helper()
	if ready("regrow") != "" {
		t.Skip("there is no go command in this machine")
	}
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod := regexp.MustCompile("(?s)```\n(require regrow .*?)```").FindStringSubmatch(readme(t))
	if mod == nil {
		t.Fatal("README has no lines for another module's go.mod")
	}
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(mod[1], "../regrow", root), string(text)
}

// runOther builds a program of another module and returns its output. The modules that
// regrow needs are in the cache.
func runOther(t *testing.T, files map[string]string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	sum, err := os.ReadFile("../../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	files["go.sum"] = string(sum)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", slices.Concat([]string{"build", "-o", "other"}, flags, []string{"."})...)
	build.Dir, build.Env = dir, append(os.Environ(), "GOPROXY=off", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	other := exec.Command(filepath.Join(dir, "other"))
	other.Dir = dir
	out, err := other.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return string(out)
}

// TestStoreModule builds a program of another module that uses only the store, with
// README's lines for go.mod: it must depend only on x/sys.
func TestStoreModule(t *testing.T) {
	words, own := modules(t)
	sys := regexp.MustCompile(`golang.org/x/sys v\S+`).FindString(own)
	version := regexp.MustCompile(`(?m)^go .*$`).FindString(own)
	if sys == "" || version == "" {
		t.Fatalf("go.mod has %q and %q", sys, version)
	}
	mod := "module other\n" + version + "\n" + words + "require " + sys + "\n"
	if out := runOther(t, map[string]string{"go.mod": mod, "main.go": storeProgram}); out != "taken by name\n" {
		t.Errorf("it prints %q", out)
	}
}
