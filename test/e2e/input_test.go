package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDescriptionByDescriptor passes descriptions by standard input, by other descriptors
// and by process substitution. They have no folder, so relative paths start at the current
// folder. The tree can inherit standard input unless the description was read from it.
func TestDescriptionByDescriptor(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		need(t, "bash")
	}
	text := `version: 1
files: {here: {type: reg, path: here}, out: {type: inherit, key: stdout}, null: {type: reg, path: /dev/null}}
tasks: [{name: a, fds: {0: here, 1: out, 2: null}, run: [cat]}]
`
	handsDown := `version: 1
files: {in: {type: inherit, key: stdin}, out: {type: inherit, key: stdout}, null: {type: reg, path: /dev/null}}
tasks: [{name: a, fds: {0: in, 1: out, 2: null}, run: [cat]}]
`
	byKey := strings.Replace(handsDown, "key: stdin", "key: in", 1)
	there, here := t.TempDir(), t.TempDir()
	for dir, files := range map[string]map[string]string{
		there: {"here": "the description's folder\n", "tree.yaml": text, "in.yaml": handsDown, "key.yaml": byKey},
		here:  {"here": "the current folder\n", "hello": "hello\n"},
	} {
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	const itsOwn, current, hello, refused = "the description's folder\n", "the current folder\n", "hello\n", ""
	for _, c := range []struct{ command, want string }{
		{`regrow restore $there/tree.yaml`, itsOwn},
		{`regrow restore - <$there/tree.yaml`, current},
		{`regrow restore /dev/stdin <$there/tree.yaml`, current},
		{`cat $there/tree.yaml | regrow restore /dev/stdin`, current},
		{`regrow restore /dev/fd/7 7<$there/tree.yaml`, current},
		{`regrow restore /proc/self/fd/7 7<$there/tree.yaml`, current},
		{`regrow restore /proc/thread-self/fd/7 7<$there/tree.yaml`, current},
		{`cat $there/tree.yaml | regrow restore /dev/fd/7 7<&0 </dev/null`, current},
		{`regrow restore <(cat $there/tree.yaml)`, current},
		{`ln -sf /dev/stdin link; regrow restore link <$there/tree.yaml`, current},
		{`ln -sf ../../../../../../../proc/self/fd/7 link; regrow restore ./link 7<$there/tree.yaml`, current},
		{`ln -sf $there/tree.yaml link; regrow restore link`, current}, // the folder of the link
		{`mkfifo fifo; cat $there/tree.yaml >fifo & cd /; regrow restore $OLDPWD/fifo; cd - >/dev/null; rm fifo`, ""},

		{`regrow restore $there/in.yaml <hello`, hello},
		{`regrow restore <(cat $there/in.yaml) <hello`, hello},
		{`regrow restore /dev/fd/7 7<$there/in.yaml <hello`, hello},
		{`cat hello | regrow restore /dev/fd/7 7<$there/in.yaml`, hello},
		{`regrow restore --inherit-fd in=0 <(cat $there/key.yaml) <hello`, hello},
		{`regrow restore - <$there/in.yaml`, refused},
		{`regrow restore /dev/stdin <$there/in.yaml`, refused},
		{`cat $there/in.yaml | regrow restore /dev/stdin`, refused},
		{`cat $there/in.yaml | regrow restore /dev/fd/0`, refused},
		{`cat $there/in.yaml | regrow restore /dev/fd/7 7<&0`, refused}, // the same pipe
		{`regrow plan /dev/stdin <$there/in.yaml`, refused},
		{`regrow conflicts /dev/stdin <$there/in.yaml`, refused},
		{`regrow restore --inherit-fd in=0 /dev/stdin <$there/key.yaml`, refused},
	} {
		if strings.Contains(c.command, "mkfifo") { // a FIFO has no folder either, and / has no such file
			c.command += "; true"
		}
		cmd := exec.Command("bash", "-c", c.command)
		cmd.Dir = here
		cmd.Env = append(os.Environ(), "there="+there, "PATH="+filepath.Dir(regrow)+":"+os.Getenv("PATH"))
		if err := lookAtSources(); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		switch {
		case strings.Contains(c.command, "mkfifo"):
			if !strings.Contains(string(out), `openat2 "here": no such file or directory`) {
				t.Errorf("%s: %s", c.command, out)
			}
		case c.want == refused:
			if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "cannot be inherited") {
				t.Errorf("%s: %v, want it refused: %s", c.command, err, out)
			}
		case err != nil || string(out) != c.want:
			t.Errorf("%s: %v, want %q: %s", c.command, err, c.want, out)
		}
	}
	within(t, "the end of what the shells have started", func() bool {
		reapOrphans()
		return len(children()) == 0
	})
}

// TestScenarioByDescriptor passes a scenario with a caller by a file that can be read
// only once: regrow must still start itself again as that caller.
func TestScenarioByDescriptor(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		need(t, "bash")
	}
	dir := t.TempDir()
	text := documented(t, "docs/description.md", "expect:")
	if err := os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command string
		status  int
		says    string
	}{
		{`regrow conflicts --run <(cat scenario.yaml)`, 0, "as predicted"},
		{`regrow conflicts --run /dev/stdin <scenario.yaml`, 0, "as predicted"},
		{`regrow conflicts --run - <scenario.yaml`, 0, "as predicted"},
		{`regrow conflicts --check <(cat scenario.yaml)`, 2, "can be read only once"},
		{`regrow conflicts --check /dev/stdin <scenario.yaml`, 2, "can be read only once"},
	} {
		r := &running{out: filepath.Join(t.TempDir(), "out")}
		out, err := os.Create(r.out)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		r.cmd = exec.Command("bash", "-c", c.command)
		r.cmd.Dir = dir
		r.cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(regrow)+":"+os.Getenv("PATH"))
		r.cmd.Stdout, r.cmd.Stderr = out, out
		if err := r.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if res := wait(t, r); res.status != c.status || !strings.Contains(res.out, c.says) {
			t.Errorf("%s: status %d, want %d and %q: %s", c.command, res.status, c.status, c.says, res.out)
		}
	}
	within(t, "the end of what the shells have started", func() bool {
		reapOrphans()
		return len(children()) == 0
	})
}

// TestPIDFileOfAnother has two regrows use one pid file: the first one that ends must not
// remove it, because it has the other's pid.
func TestPIDFileOfAnother(t *testing.T) {
	first, _ := startedTree(t, heldTree)
	second := start(t, "", "restore", "--json", "--pidfile", first.pidfile, write(t, heldTree))
	within(t, "the second tree", func() bool { return strings.HasSuffix(second.output(), "}\n") })
	text, err := os.ReadFile(first.pidfile)
	if err != nil {
		t.Fatal(err)
	}
	first.signal(t, 15)
	if res := wait(t, first); res.status != 143 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	if now, err := os.ReadFile(first.pidfile); err != nil || string(now) != string(text) {
		t.Errorf("the second tree's pid file has %q, want %q (%v)", now, text, err)
	}
	second.signal(t, 15)
	if res := wait(t, second); res.status != 143 {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
	if _, err := os.Stat(first.pidfile); err == nil {
		t.Error("the pid file is still there")
	}
	noDescendants(t)
}

// TestTraceThatCannotBeOpened checks that nothing is started if the trace cannot be
// opened.
func TestTraceThatCannotBeOpened(t *testing.T) {
	path := write(t, "version: 1\nfiles: {f: {type: reg, path: made, flags: [O_CREAT]}, null: {type: reg, path: /dev/null, flags: [O_RDWR]}}\n"+
		"tasks: [{name: a, fds: {0: null, 1: null, 2: null, 3: f}, run: [touch, ran]}]\n")
	dir := filepath.Dir(path)
	fifo := filepath.Join(dir, "fifo")
	if err := exec.Command("mkfifo", fifo).Run(); err != nil {
		t.Fatal(err)
	}
	pidfile := filepath.Join(dir, "pid")
	for _, trace := range []string{filepath.Join(dir, "no/such/folder"), dir, fifo} {
		for _, c := range []struct {
			args   []string
			status int
		}{{[]string{"restore"}, 125}, {[]string{"restore", "-d"}, 1}} {
			res := wait(t, start(t, "cd "+dir, append(c.args, "--trace", trace, "--pidfile", pidfile, path)...))
			if res.status != c.status || !strings.HasPrefix(res.errors, "regrow: trace: open "+trace+": ") {
				t.Errorf("%s: status %d, want %d: %s", trace, res.status, c.status, res.errors)
			}
			for _, name := range []string{"made", "ran", "pid"} {
				if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
					t.Errorf("%s: %s exists", trace, name)
				}
			}
		}
	}
	noDescendants(t)
}
