package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// storeProgram gives a program the store, which is itself again, and takes from it.
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

// TestStoreModule builds a program of another module that has nothing but the store,
// by README's line for go.mod: all it needs beside it is x/sys.
func TestStoreModule(t *testing.T) {
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
	own, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	sys := regexp.MustCompile(`golang.org/x/sys v\S+`).FindString(string(own))
	version := regexp.MustCompile(`(?m)^go .*$`).FindString(string(own))
	if mod == nil || sys == "" || version == "" {
		t.Fatalf("README has %q, go.mod %q and %q", mod, sys, version)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module other\n" + version + "\n" + strings.ReplaceAll(mod[1], "../regrow", root) + "require " + sys + "\n",
		"go.sum":  string(sum),
		"main.go": storeProgram,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "other", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOPROXY=off", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	other := exec.Command(filepath.Join(dir, "other"))
	if out, err := other.CombinedOutput(); err != nil || string(out) != "taken by name\n" {
		t.Errorf("%v: %s", err, out)
	}
}
