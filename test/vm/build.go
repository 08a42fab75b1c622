package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"regrow/test/vm/job"
)

// workshop builds the programs of a guest.
type workshop struct {
	root string // of the module
	out  string // folder of the binaries
	arch string
}

// testPackage is a package with tests.
type testPackage struct {
	Dir, ImportPath           string
	TestGoFiles, XTestGoFiles []string
	TestImports, XTestImports []string
	name                      string // the path from the module's root
}

// env is the environment of builds for a guest, which may lack the host's C library.
func (w *workshop) env() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+w.arch)
}

func (w *workshop) goCommand(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = w.root, w.env()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// newWorkshop returns a workshop for the module of the current folder.
func newWorkshop(ctx context.Context, out, arch string) (*workshop, error) {
	w := &workshop{root: ".", out: out, arch: arch}
	root, err := w.goCommand(ctx, "list", "-m", "-f", "{{.Dir}}")
	w.root = strings.TrimSpace(string(root))
	return w, err
}

// notInside are the packages whose tests run in no guest.
var notInside = map[string]string{
	"test/hostile":  "it measures time, and an emulated processor takes ten times as long",
	"test/vm":       "it is what starts machines",
	"test/vm/wrong": "it is what machines of test/vm fail by",
}

// packages lists the packages with tests that match the patterns, and those of them that
// run in no guest.
func (w *workshop) packages(ctx context.Context, patterns ...string) (pkgs []testPackage, not []finding, err error) {
	out, err := w.goCommand(ctx, append([]string{"list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles,TestImports,XTestImports"}, patterns...)...)
	if err != nil {
		return nil, nil, err
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p testPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, not, nil
		} else if err != nil {
			return nil, nil, err
		}
		rel, err := filepath.Rel(w.root, p.Dir)
		if err != nil {
			return nil, nil, err
		}
		p.name = filepath.ToSlash(rel)
		switch why := notInside[p.name]; {
		case len(p.TestGoFiles)+len(p.XTestGoFiles) == 0:
		case why != "":
			not = append(not, finding{p.name + " (all of it)", why})
		default:
			pkgs = append(pkgs, p)
		}
	}
}

// draws reports whether the tests of a package use rapid, so that they have its flag for
// the number of cases.
func (p testPackage) draws() bool {
	return slices.Contains(append(p.TestImports, p.XTestImports...), "pgregory.net/rapid")
}

// testBinary builds the tests of a package into the image, and returns the binary's path in
// the guest.
func (w *workshop) testBinary(ctx context.Context, img *image, p testPackage) (string, error) {
	name := strings.ReplaceAll(p.name, "/", "-") + ".test"
	file := filepath.Join(w.out, name)
	// Without debug information the image is half as large.
	if _, err := w.goCommand(ctx, "test", "-c", "-ldflags=-s -w", "-o", file, p.ImportPath); err != nil {
		return "", err
	}
	inside := path.Join(job.Tests, name)
	return inside, img.add(inside[1:], file)
}

// program builds a command of the module into the image.
func (w *workshop) program(ctx context.Context, img *image, pkg, inside string) error {
	file := filepath.Join(w.out, path.Base(inside))
	if _, err := w.goCommand(ctx, "build", "-ldflags=-s -w", "-o", file, pkg); err != nil {
		return err
	}
	return img.add(strings.TrimPrefix(inside, "/"), file)
}

// cPrograms are the programs that tests otherwise build with a C compiler, by name.
var cPrograms = map[string]string{
	"probe": "test/e2e/probe/probe.c",
	"pull":  "test/cstore/pull/pull.c",
	"make":  "test/cstore/make/make.c",
	"get":   "test/cstore/get/get.c",
}

// compiler returns the C compiler for the guest's programs.
func (w *workshop) compiler() string {
	if w.arch == "arm64" {
		return "aarch64-linux-gnu-gcc"
	}
	return "cc"
}

// cProgram builds a program in C, statically, into the image.
func (w *workshop) cProgram(ctx context.Context, img *image, name string) error {
	file := filepath.Join(w.out, name)
	cmd := exec.CommandContext(ctx, w.compiler(), "-O2", "-Wall", "-static", "-o", file, filepath.Join(w.root, cPrograms[name]))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return img.add(path.Join(job.Programs, name)[1:], file)
}

// addSource adds the module to the image, because tests read their data, the examples, and
// the source itself.
func (w *workshop) addSource(img *image) error {
	return filepath.WalkDir(w.root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == w.root {
			return err
		}
		rel, err := filepath.Rel(w.root, file)
		if err != nil {
			return err
		}
		name := path.Join(job.Source[1:], filepath.ToSlash(rel))
		switch {
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || rel == "bin" || d.Name() == "rapid"):
			return fs.SkipDir
		case d.IsDir():
			return img.add(name, file)
		case d.Type().IsRegular() && !slices.Contains([]string{".test", ".prof", ".out"}, filepath.Ext(file)):
			return img.add(name, file)
		}
		return nil
	})
}
