package cstore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"regrow/fdstore"
)

// getNames runs the program that gets files by name from a store.
func getNames(t *testing.T, get string, s *fdstore.Store, names ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), get, names...)
	cmd.Stderr = os.Stderr
	if err := s.AddToCmd(cmd); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v: %q", err, out)
	}
	return string(out)
}

// named makes a store of n messages with names, some of which have a file of their own, and
// returns the content of each of these files.
func named(t *testing.T, o fdstore.Options, n int) (*fdstore.Store, map[string]string) {
	t.Helper()
	s, err := fdstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	other := memfd(t, "other")
	want := map[string]string{}
	for i := range n {
		name, files := fmt.Sprintf("name %d", i), []fdstore.File{other}
		switch i {
		case 0, 31, 32, 95, 96, 2079, 2080, 2143, 2144, n - 1:
			files[0] = memfd(t, name)
			want[name] = name
			if i%2 == 1 {
				files = append(files, other)
				want[name] += " other"
			}
		}
		if _, err := s.AddNamed(name, files...); errors.Is(err, fdstore.ErrInFlight) {
			need(t, fmt.Sprintf("more files in flight (%v)", err))
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return s, want
}

// TestCGetsByName gets files with the header by names that the package has written: in the
// root, in shards, in shards of branches, and names that do not exist.
func TestCGetsByName(t *testing.T) {
	get := build(t, "get")
	for layout, n := range map[fdstore.Layout]int{fdstore.Nested: 2500, fdstore.Flat: 100} {
		s, want := named(t, fdstore.Options{Layout: layout}, n)
		for range 2 { // before and after the seal
			names, text := []string{"name", "name 0 ", "", strings.Repeat("x", 300), "name -1"}, ""
			for _, name := range names {
				text += name + ": No such file or directory\n"
			}
			for name, content := range want {
				names = append(names, name)
				text += name + ": " + content + "\n"
			}
			text += "unset, next descriptor 3\n"
			if got := getNames(t, get, s, names...); got != text {
				t.Errorf("got\n%s\nwant\n%s", got, text)
			}
			if err := s.Seal(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestEveryName looks up all names of an index with many levels.
func TestEveryName(t *testing.T) {
	get := build(t, "get")
	const n = 2500
	s, want := named(t, fdstore.Options{}, n)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("name %d", i)
	}
	lines := strings.Split(getNames(t, get, s, names...), "\n")
	for i, name := range names {
		content, ok := want[name]
		if !ok {
			content = "other"
		}
		if i >= len(lines) || lines[i] != name+": "+content {
			t.Fatalf("line %d: got %q, want %q", i, lines[i], name+": "+content)
		}
	}
}

// TestCGetsWhileOthersDo has several programs in C and goroutines of this process get files
// at the same time: none may get a wrong file.
func TestCGetsWhileOthersDo(t *testing.T) {
	get := build(t, "get")
	s, want := named(t, fdstore.Options{}, 200)
	var names []string
	var text strings.Builder
	for name, content := range want {
		for range 30 {
			names = append(names, name)
			fmt.Fprintf(&text, "%s: %s\n", name, content)
		}
	}
	text.WriteString("unset, next descriptor 3\n")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := getNames(t, get, s, names...); got != text.String() {
				t.Errorf("got\n%s\nwant\n%s", got, text.String())
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for _, name := range names {
				id, err := s.Lookup(name)
				if err == nil {
					var files []*os.File
					files, err = s.GetGroup(id)
					for _, f := range files {
						f.Close()
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestCErrors checks the errors of the header without a usable store.
func TestCErrors(t *testing.T) {
	get := build(t, "get")
	s, err := fdstore.New(fdstore.Options{WithoutCatalog: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := getNames(t, get, s, "x"); got != "x: No data available\nunset, next descriptor 3\n" {
		t.Errorf("without a catalog: %q", got)
	}
	for value, want := range map[string]string{
		"":                      "Protocol error",
		"x":                     "Protocol error",
		"3":                     "Protocol error",
		"3:1":                   "Protocol error",
		"0:0123456789abcdef":    "Protocol error", // standard input
		"999:0123456789abcdef":  "Protocol error",
		"-1:0123456789abcdef":   "Protocol error",
		"0:0123456789abcdef0":   "Protocol error",
		"3:0000000000000000":    "Protocol error",
		"3:0123456789abcdef":    "Protocol error", // another store
		fdstore.EnvRoot + "=no": "Protocol error",
	} {
		cmd := exec.CommandContext(t.Context(), get, "x")
		if err := s.AddToCmd(cmd); err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, fdstore.EnvRoot+"="+value)
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || string(out) != "no store: "+want+"\n" {
			t.Errorf("%q: %v, %q; want %q", value, err, out, want)
		}
	}
	cmd := exec.CommandContext(t.Context(), get, "x")
	if out, _ := cmd.Output(); string(out) != "no store: No such file or directory\n" {
		t.Errorf("no variable: %q", out)
	}
}

// TestHeaderCompiles checks that the header compiles without warnings as C of every standard
// since 1999, and as C++.
func TestHeaderCompiles(t *testing.T) {
	if os.Getenv("REGROW_TEST_PROGRAMS") != "" {
		t.Skip("there is no compiler where programs are built beforehand")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "empty.c")
	header, err := filepath.Abs("../../fdstore/c/fdstore.h")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("#include %q\nint main(void) { struct fdstore s; return fdstore_inherited(&s) ? 1 : fdstore_get(&s, \"x\"); }\n", header)
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, standard := range []string{"c99", "c11", "c17", "c++11", "c++17"} {
		language := "c"
		if strings.HasPrefix(standard, "c++") {
			language = "c++"
		}
		out, err := exec.CommandContext(t.Context(), "cc", "-x", language, "-std="+standard, "-D_DEFAULT_SOURCE", "-D_GNU_SOURCE", "-Werror",
			"-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-fsyntax-only", source).CombinedOutput()
		switch {
		case errors.Is(err, exec.ErrNotFound):
			need(t, "a C compiler")
		case strings.Contains(string(out), "cc1plus"):
			t.Logf("%s: this compiler has no C++", standard)
		case err != nil:
			t.Errorf("%s: %v\n%s", standard, err, out)
		}
	}
}
