package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// badProgram is a program that execve refuses.
type badProgram struct {
	name   string
	run    string // of the task, with DIR for the folder of the test
	files  string // other open files of the tree
	fds    string
	status int
	words  string // the end of the message
}

var badPrograms = []badProgram{
	{name: "not there", run: "[DIR/gone]", status: 127, words: "no such file or directory"},
	{name: "in no folder", run: "[no-such-program]", status: 127, words: "no such file or directory"},
	{name: "no interpreter", run: "[DIR/lost]", status: 127, words: "no such file or directory"},
	{name: "no interpreter of the interpreter", run: "[DIR/lost2]", status: 127, words: "no such file or directory"},
	{name: "no right", run: "[DIR/plain]", status: 126, words: "permission denied"},
	{name: "a folder", run: "[DIR]", status: 126, words: "permission denied"},
	{name: "no right to the interpreter", run: "[DIR/plainer]", status: 126, words: "permission denied"},
	{name: "mounted noexec", run: "[DIR/noexec/program]", status: 126, words: "permission denied"},
	{name: "interpreter is mounted noexec", run: "[DIR/onnoexec]", status: 126, words: "mounted noexec: permission denied"},
	{name: "text", run: "[DIR/text]", status: 126, words: "exec format error"},
	{name: "empty", run: "[DIR/empty]", status: 126, words: "exec format error"},
	{name: "cut off", run: "[DIR/cutoff]", status: 126, words: "exec format error"},
	{name: "interpreter is no library", run: "[DIR/nolib]\n        cwd: DIR", status: 126, words: "accessing a corrupted shared library"},
	{name: "too many scripts", run: "[DIR/deep6]", status: 126, words: "too many levels of symbolic links"},
	{name: "argument too long", run: "[sh, -c, ':', '" + strings.Repeat("x", 131072) + "']", status: 126, words: "argument list too long"},
	{name: "too much in all", run: "[sh, -c, ':'" + strings.Repeat(", '"+strings.Repeat("x", 100_000)+"'", 70) + "]", status: 126, words: "argument list too long"},
	{
		name: "written by the tree", run: "[DIR/copy]", status: 126, words: "text file busy",
		files: "  w: {type: reg, path: DIR/copy, flags: [O_RDWR]}\n", fds: ", 6: {file: w, cloexec: true}",
	},
	{
		name: "written by another name", run: "[DIR/copy]", status: 126, words: "text file busy",
		files: "  w: {type: reg, path: DIR/link, flags: [O_WRONLY]}\n", fds: ", 6: w, 7: w",
	},
	{
		name: "interpreter is written", run: "[DIR/oncopy]", status: 126, words: "text file busy",
		files: "  w: {type: reg, path: DIR/copy, flags: [O_WRONLY]}\n", fds: ", 6: w",
	},
	{
		name: "written by the caller", run: "[DIR/copy]", status: 126, words: "text file busy",
		files: "  w: {type: inherit, key: given}\n", fds: ", 6: w",
	},
	{
		name: "written by what the caller gives for a file", run: "[DIR/copy]", status: 126, words: "text file busy",
		files: "  given: {type: reg, path: /dev/null}\n", fds: ", 6: given",
	},
	{
		name: "written by what the caller gives for an end of a pipe", run: "[DIR/copy]", status: 126, words: "text file busy",
		files: "  given: {type: pipe}\n", fds: ", 6: given.r, 7: given.w",
	},
	{
		name: "made by the restore", run: "[DIR/made]", status: 126, words: "text file busy",
		files: "  w: {type: reg, path: DIR/made, flags: [O_CREAT, O_WRONLY], mode: 0755, content: \"#!/bin/sh\\n\"}\n", fds: ", 6: w",
	},
}

// badFolder is a folder with programs that cannot be executed.
func badFolder(t *testing.T) string {
	t.Helper()
	dir := openFolder(t)
	noexec := filepath.Join(dir, "noexec")
	if err := os.Mkdir(noexec, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", noexec, "tmpfs", unix.MS_NOEXEC, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(noexec, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	binary, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	interp := "/lib64/ld-linux-x86-64.so.2\x00"
	if !strings.Contains(string(binary), interp) {
		interp = "/lib/ld-linux-aarch64.so.1\x00"
	}
	nolib := strings.Replace(string(binary), interp, ("./text\x00" + strings.Repeat("\x00", len(interp)))[:len(interp)], 1)
	files := map[string]string{
		"lost": "#!/no/such/interpreter\n", "lost2": "#!" + dir + "/lost\n", "plain": "no program\n", "plainer": "#!" + dir + "/plain\n",
		"noexec/program": "#!/bin/sh\n", "onnoexec": "#!" + dir + "/noexec/program\n", "text": strings.Repeat("echo no line of its own\n", 5), "empty": "",
		"cutoff": string(binary[:100]), "nolib": nolib, "copy": string(binary), "oncopy": "#!" + dir + "/copy\n", "deep0": "#!/bin/sh\n",
	}
	for i := range 6 {
		files[fmt.Sprintf("deep%d", i+1)] = fmt.Sprintf("#!%s/deep%d\n", dir, i)
	}
	for name, content := range files {
		mode := os.FileMode(0o755)
		if name == "plain" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "copy"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestBadPrograms checks that a restore that fails because of a program changes no file:
// the error is detected before O_TRUNC takes effect.
func TestBadPrograms(t *testing.T) {
	needRoot(t)
	dir := badFolder(t)
	there := filepath.Join(dir, "there")
	all := []string{"[]", "[pid]", "[user, pid]"}
	drawn := rounds.Draw(t, len(all)*len(badPrograms), 0, len(badPrograms))
	for i, namespaces := range all {
		for j, c := range badPrograms {
			t.Run(namespaces+" "+c.name, func(t *testing.T) {
				drawn.Need(t, i*len(badPrograms)+j)
				fill := strings.NewReplacer("DIR", dir).Replace
				path := save(t, openFolder(t), fmt.Sprintf("version: 1\nnamespaces: %s\nfiles:\n  there: {type: reg, path: %s, flags: [O_WRONLY, O_TRUNC]}\n%stasks:\n"+
					"  - name: a\n    fds: {5: there}\n    children:\n      - name: b\n        fds: {5: there%s}\n        run: %s\n", namespaces, there, fill(c.files), c.fds, fill(c.run)))
				if err := os.WriteFile(there, []byte("there"), 0o666); err != nil {
					t.Fatal(err)
				}
				shell := ""
				if strings.Contains(c.files, "given") {
					key := "given"
					if strings.Contains(c.fds, "given.w") {
						key = "given.w"
					}
					shell = "set -- \"$@\" --inherit-fd " + key + "=8; exec 8<>" + dir + "/copy; exec \"$0\" \"$@\""
				}
				for _, how := range []struct {
					flag   string
					status int
				}{{"--json=false", c.status}, {"-d", 1}} {
					res := wait(t, start(t, shell, "restore", how.flag, path))
					if res.status != how.status {
						t.Errorf("%s: status %d, want %d", how.flag, res.status, how.status)
					}
					if !strings.HasSuffix(res.errors, c.words+"\n") || !strings.Contains(res.errors, `restore: task "b"`) {
						t.Errorf("the message does not end with %q: %s", c.words, res.errors)
					}
					noDescendants(t)
				}
				if text, err := os.ReadFile(there); err != nil || string(text) != "there" {
					t.Errorf("an existing file has %q now (%v)", text, err)
				}
				if _, err := os.Stat(filepath.Join(dir, "made")); err == nil {
					t.Error("the restore has left a file")
				}
			})
		}
	}
}

// TestProgramsAreSaidAtOnce checks that all programs that cannot be executed are reported,
// each with its line, and that the status is 127 if one does not exist.
func TestProgramsAreSaidAtOnce(t *testing.T) {
	needRoot(t)
	dir := badFolder(t)
	path := save(t, openFolder(t), "version: 1\ntasks:\n  - name: a\n    children:\n      - {name: b, run: ["+dir+"/text]}\n      - {name: c, run: ["+dir+"/lost]}\n"+
		"      - {name: d, run: ["+dir+"/copy]}\n      - {name: e, run: ["+dir+"/text, x]}\n")
	res := wait(t, start(t, "", "restore", "--log-level", "error", path)) // the programs have no files
	if res.status != 127 {
		t.Errorf("status %d, want 127", res.status)
	}
	want := []string{`:5:25: restore: task "b"`, `:6:25: restore: task "c"`, `:8:25: restore: task "e"`}
	lines := strings.Split(strings.TrimSuffix(res.errors, "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), res.errors)
	}
	for i, line := range lines {
		if !strings.Contains(line, want[i]) {
			t.Errorf("no %q in %s", want[i], line)
		}
	}
	noDescendants(t)
}

// TestUnreadableProgram runs a program that may be executed but not read, and a script
// with an interpreter of this kind.
func TestUnreadableProgram(t *testing.T) {
	needRoot(t)
	dir := openFolder(t)
	binary, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"program": string(binary), "script": "#!" + dir + "/program\n"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "program"), 0o111); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"program", "script"} {
		path := save(t, openFolder(t), "version: 1\ntasks: [{name: a, run: ["+dir+"/"+name+"]}]\n")
		if res := wait(t, start(t, asNobody, "restore", path)); res.status != 0 {
			t.Errorf("%s: status %d: %s", name, res.status, res.errors)
		}
	}
	noDescendants(t)
}
