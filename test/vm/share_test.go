package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"regrow/test/vm/job"
)

// TestShare checks that the last kernel runs everything, that the others run the tests that
// depend on a kernel and a part of the rest, and that every omitted run is named.
func TestShare(t *testing.T) {
	runs := []job.Run{{Name: "restore"}, {Name: "images"}, {Name: endToEnd}}
	kernels := []kernel{{name: "5.10"}, {name: "6.1"}, {name: "6.12"}}
	for _, c := range []struct {
		draw, kernel  int
		runs, skipped string
		told          string // beginning of the command line
	}{
		{1, 0, "restore images test/e2e", "", ""},
		{2, 0, "restore test/e2e", "images (all of it), test/e2e", "REGROW_TEST_PART=1/2 regrow_without=images,"},
		{2, 1, "restore test/e2e", "images (all of it), test/e2e", "REGROW_TEST_PART=2/2 regrow_without=images,"},
		{2, 2, "restore images test/e2e", "", ""},
		{3, 1, "restore test/e2e", "images (all of it), test/e2e", "REGROW_TEST_PART=2/3 "},
		{3, 2, "restore images test/e2e", "test/e2e", "REGROW_TEST_PART=3/3"},
		{4, 2, "restore images test/e2e", "", ""},
	} {
		sh := (&batch{options: options{draw: c.draw}}).share(kernels, c.kernel)
		have, not := sh.runs(runs)
		var names, skipped []string
		for _, r := range have {
			names = append(names, r.Name)
		}
		for _, f := range not {
			skipped = append(skipped, f.name)
		}
		if strings.Join(names, " ") != c.runs || strings.Join(skipped, ", ") != c.skipped || !strings.HasPrefix(sh.commandLine(), c.told) || c.told == "" && sh.commandLine() != "" {
			t.Errorf("one of %d parts, kernel %d: runs %q, not %q, told %q", c.draw, c.kernel, names, skipped, sh.commandLine())
		}
	}
}

// TestPure checks that each pure package exists.
func TestPure(t *testing.T) {
	for _, name := range pure {
		if tests, err := filepath.Glob(filepath.Join("..", "..", name, "*_test.go")); err != nil || len(tests) == 0 {
			t.Errorf("%s has no tests (%v)", name, err)
		}
	}
}

// TestTouched checks that .ci/run tries all kernels if a package has changed whose tests
// they all run, also a new or moved one.
func TestTouched(t *testing.T) {
	root := os.DirFS("../..")
	text, err := fs.ReadFile(root, ".ci/run")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^kernels=\(([^)]*)\)`).FindSubmatch(text)
	if m == nil {
		t.Fatal(".ci/run has no list of folders that depend on the kernel")
	}
	folders := strings.Fields(string(m[1]))
	n := 0
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "tools" || len(d.Name()) > 1 && d.Name()[0] == '.'):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		pkg := filepath.Dir(name)
		if slices.Contains(pure, pkg) || notInside[pkg] != "" {
			return nil
		}
		n++
		if !slices.ContainsFunc(folders, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") }) {
			t.Errorf("%s is in none of the folders %v of .ci/run, and not among the pure packages", name, folders)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d files of tests, %v", n, err)
	}
}
