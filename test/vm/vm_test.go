package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"

	"regrow/test/record"
	"regrow/test/rounds"
	"regrow/test/vm/job"
)

func TestVersions(t *testing.T) {
	if got := strings.Join(versions(), " "); got != "5.10 6.1 6.12" {
		t.Errorf("got %s", got)
	}
}

func TestKernelsByPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bzImage")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := kernelsOf(t.Context(), t.TempDir(), "amd64", path)
	if err != nil || len(got) != 1 || got[0] != (kernel{"bzImage", path}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, name := range []string{"6.13", path + "x", "6.1;"} {
		if got, err := kernelsOf(t.Context(), t.TempDir(), "amd64", name); err == nil || !strings.Contains(err.Error(), "5.10, 6.1, 6.12") {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// TestImage reads an image back: folders must come before their contents.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, os.ModeSetuid|0o755); err != nil {
		t.Fatal(err)
	}
	img := newImage()
	img.link("bin", "usr/bin")
	img.text("usr/bin/x-y", "first")
	img.text("usr/bin/x-y", "second")
	if err := img.add("usr/bin/x/y", file); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := img.write(&b); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := cpio.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimSpace(h.Mode.String()+" "+h.Name+" "+h.Linkname+string(text)))
	}
	want := []string{"usr/bin/x/y content", "usr/bin/x-y second"}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasSuffix(g, w) }) {
			t.Errorf("no %q in %q", w, got)
		}
	}
	seen := map[string]bool{".": true}
	for _, g := range got {
		name := strings.Fields(g)[1]
		if !seen[filepath.Dir(name)] {
			t.Errorf("%s comes before its folder: %q", name, got)
		}
		seen[name] = true
	}
}

func TestUsrMerged(t *testing.T) {
	for name, want := range map[string]string{
		"bin/sh": "usr/bin/sh", "lib64/ld-linux-x86-64.so.2": "usr/lib64/ld-linux-x86-64.so.2",
		"usr/bin/env": "usr/bin/env", "etc/passwd": "etc/passwd", "library/x": "library/x",
	} {
		if got := usrMerged(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// marked returns a line in the form in which a test binary writes it for test2json.
func marked(text string) job.Message {
	return job.Message{Kind: job.Line, Run: "a", Text: "\x16" + text}
}

// TestVerdict checks that every kind of failure is reported.
func TestVerdict(t *testing.T) {
	start := job.Message{Kind: job.Start, Run: "a"}
	list := job.Message{Kind: job.List, Run: "a", Tests: []string{"TestX", "TestY"}}
	x := []job.Message{marked("=== RUN   TestX"), marked("--- PASS: TestX (0.00s)"), marked("=== NAME  ")}
	y := []job.Message{marked("=== RUN   TestY"), marked("--- SKIP: TestY (0.00s)"), marked("=== NAME  ")}
	end := job.Message{Kind: job.End, Run: "a"}
	failed := []job.Message{marked("=== RUN   TestY"), marked("--- FAIL: TestY (0.00s)")}
	for _, c := range []struct {
		name     string
		messages []job.Message
		pass     int
		skip     int
		want     string // in what failed, "" if nothing did
	}{
		{"well", slices.Concat([]job.Message{start, list}, x, y, []job.Message{end}), 1, 1, ""},
		{"failed", slices.Concat([]job.Message{start, list}, x, failed, []job.Message{{Kind: job.End, Run: "a", Status: 1}}), 1, 0, "a TestY"},
		{"status of a failure is 0", slices.Concat([]job.Message{start, list}, x, failed, []job.Message{end}), 1, 0, "status 0, though tests failed"},
		{"status without a failure", slices.Concat([]job.Message{start, list}, x, y, []job.Message{{Kind: job.End, Run: "a", Status: 2}}), 1, 1, "status 2"},
		{"never began", slices.Concat([]job.Message{start, list}, x, []job.Message{end}), 1, 0, "a TestY: lost: it never began"},
		{"did not end", slices.Concat([]job.Message{start, list}, x, y[:1], []job.Message{end}), 1, 0, "a TestY: lost: it began and did not end"},
		{"machine died", slices.Concat([]job.Message{start, list}, x, y), 1, 1, "lost: the run did not end"},
		{"machine never began", nil, 0, 0, "lost: the run did not end"},
		{"no test", []job.Message{start, {Kind: job.List, Run: "a"}, end}, 0, 0, "ran no test"},
		{"left behind", slices.Concat([]job.Message{start, list}, x, y, []job.Message{{Kind: job.End, Run: "a", Left: []string{"process 7 (a)"}}}), 1, 1, "left behind:\nprocess 7 (a)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newResults([]job.Run{{Name: "a"}})
			for _, m := range c.messages {
				if err := r.take(m); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
			v := r.runs[0].verdict(nil)
			var all []string
			for _, f := range v.failed {
				all = append(all, f.name+": "+f.why)
			}
			said := strings.Join(all, "\n")
			if v.passed != c.pass || len(v.skipped) != c.skip || (c.want == "") != (said == "") || !strings.Contains(said, c.want) {
				t.Errorf("%d passed, %d skipped, failed: %q; want %d, %d, %q", v.passed, len(v.skipped), said, c.pass, c.skip, c.want)
			}
		})
	}
	r := newResults([]job.Run{{Name: "a"}})
	for _, m := range []job.Message{{Kind: job.Start, Run: "b"}, {Kind: job.Line, Run: "a"}, {Kind: "what"}} {
		if err := r.take(m); err == nil {
			t.Errorf("%v was accepted", m)
		}
	}
}

func TestSkipsAreNamed(t *testing.T) {
	r := newResults([]job.Run{{Name: "a"}})
	for _, m := range []job.Message{
		{Kind: job.Start, Run: "a"},
		{Kind: job.List, Run: "a", Tests: []string{"TestX", "TestY"}},
		marked("=== RUN   TestX"),
		{Kind: job.Line, Run: "a", Text: "    x_test.go:7: needs a moon"},
		marked("--- SKIP: TestX (0.00s)"), marked("=== NAME  "),
		{Kind: job.End, Run: "a"},
	} {
		if err := r.take(m); err != nil {
			t.Fatal(err)
		}
	}
	v := r.runs[0].verdict(map[string]string{"TestY": "it cannot"})
	want := []finding{{"a TestX", "x_test.go:7: needs a moon"}, {"a TestY", "it cannot"}}
	if !slices.Equal(v.skipped, want) || v.passed != 0 || len(v.failed) != 0 {
		t.Errorf("got %+v, want skipped %+v", v, want)
	}
}

func TestTable(t *testing.T) {
	table := newTable()
	for release, answer := range map[string]string{"6.1": "passed"} {
		r := newResults([]job.Run{{Name: "a"}})
		for _, f := range []string{"one", "two"} {
			r.runs[0].order = append(r.runs[0].order, f)
			r.runs[0].tests[f] = &testResult{attrs: map[string]string{"feature": f, "answer": answer}}
			answer = ""
		}
		table.add(release, []trial{{results: r}})
	}
	const want = "| feature | 6.1 |\n|---|---|\n| one | passed |\n| two | LOST |\n"
	if got := table.markdown(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	text, err := replaceTable("before\n"+tableBegin+"old\n"+tableEnd+"after\n", want)
	if err != nil || text != "before\n"+tableBegin+"\n"+want+"\n"+tableEnd+"after\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := replaceTable("no marks", want); err == nil {
		t.Error("a text without marks was accepted")
	}
}

func TestComplaints(t *testing.T) {
	for text, want := range map[string]bool{
		"[    1.0] Linux version 6.1\r\n":                                        false,
		"[    9.1] WARNING: CPU: 0 PID: 1 at fs/file.c:33 x+0x1/0x2\r\nmore\r\n": true,
		"[    9.1] Kernel panic - not syncing: Attempted to kill init!\r\n":      true,
		"[    9.1] BUG: unable to handle page fault\r\n":                         true,
		"[    9.1] Out of memory: Killed process 300 (regrow)\r\n":               false,
	} {
		m := machine{dir: t.TempDir()}
		if err := os.WriteFile(m.consolePath(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := m.complaints(); (len(got) > 0) != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// TestMiscompiled checks which messages count as a fault of the emulator, with lines of a
// real one.
func TestMiscompiled(t *testing.T) {
	const oops = "[   35.271708] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\r\n[   35.272358] RIP: 0010:kmem_cache_free+0x103/0x440\r\n"
	for _, c := range []struct {
		text, accel string
		want        bool
	}{
		{oops, "tcg", true},
		{"[   41.0] int3: 0000 [#1] SMP NOPTI\r\n", "tcg", true}, // 5.10
		{oops, "kvm", false}, // a real processor does not have this fault
		{"[    9.1] Oops: 0000 [#1] PREEMPT SMP NOPTI\r\n", "tcg", false},
		{"[    9.1] BUG: unable to handle page fault\r\n", "tcg", false},
		{"[    9.1] WARNING: CPU: 0 PID: 1 at fs/file.c:33 x+0x1/0x2\r\n" + oops, "tcg", false}, // there was another fault before
	} {
		m := machine{dir: t.TempDir(), accel: c.accel}
		if err := os.WriteFile(m.consolePath(), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := m.miscompiled(); got != c.want {
			t.Errorf("%s %q: %v", c.accel, c.text, got)
		}
	}
}

// cachedKernel returns the newest kernel if it was downloaded and QEMU is installed.
func cachedKernel(t *testing.T) kernel {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a machine")
	}
	if err := lacking(needs("amd64")); err != nil {
		t.Skip(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "regrow/kernels", versions()[len(suites)-1]+"-amd64/*/boot/vmlinuz-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		t.Skip("needs a kernel: make test-vm KERNEL=newest fetches it")
	}
	return kernel{name: "newest", image: found[0]}
}

// quick is a time limit for something that must not happen.
const quick = 30 * time.Second

// TestMachines boots machines that fail in each relevant way, and runs one good test in one
// of them: only that test may pass.
func TestMachines(t *testing.T) {
	rounds.Only(t, rounds.All) // it takes minutes
	k := cachedKernel(t)
	dir := t.TempDir()
	w, err := newWorkshop(t.Context(), dir, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	b := &batch{dir: dir}
	for name, tests := range map[string]map[string]string{ // the message for each, "" for none
		"lives":   {"TestWell": "", "TestLost": "lost", "TestLeaves": "left behind:\nprocess"},
		"panics":  {"TestPanic": "lost", "machine": "the machine died", "kernel": "Kernel panic"},
		"silence": {"TestSilence": "lost", "machine": "silent for"},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := b.base(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			binary, err := w.testBinary(t.Context(), img, testPackage{ImportPath: "regrow/test/vm/wrong", name: "wrong"})
			if err != nil {
				t.Fatal(err)
			}
			var runs []job.Run
			for _, test := range slices.Sorted(maps.Keys(tests)) {
				if strings.HasPrefix(test, "Test") {
					runs = append(runs, job.Run{
						Name: test, Binary: binary, Dir: "/", Run: "^" + test + "$", Timeout: time.Minute, Env: []string{"REGROW_TEST_WRONG=1"},
					})
				}
			}
			initramfs, err := b.write(img, "image", runs)
			if err != nil {
				t.Fatal(err)
			}
			m := machine{arch: "amd64", accel: "tcg", kernel: k.image, initramfs: initramfs, memory: 512, dir: t.TempDir(), silence: quick}
			r := newResults(runs)
			var bootErr error
			for again := range boots {
				if bootErr = m.boot(t.Context(), r.take); r.release != "" {
					break
				}
				t.Logf("boot %d did not come up: %v", again+1, bootErr)
			}
			if err := r.close(); err != nil {
				t.Fatal(err)
			}
			// These tests fail on purpose.
			var ran []record.Test
			for _, run := range r.runs {
				ran = append(ran, record.Test{Package: "regrow/test/vm/wrong", Name: run.run.Name})
				if run.run.Name == "TestLeaves" { // which starts it
					ran = append(ran, record.Test{Package: "regrow/test/vm/wrong", Name: "TestStays"})
				}
			}
			if err := record.Passed(ran...); err != nil {
				t.Error(err)
			}
			said := map[string]string{}
			for _, f := range b.judge(m, r, bootErr).failed {
				who, _, _ := strings.Cut(f.name, " ")
				said[who] += f.why + "\n"
			}
			for who, want := range tests {
				if got := said[who]; (want == "") != (got == "") || !strings.Contains(got, want) {
					t.Errorf("%s: %q, want %q", who, got, want)
				}
				delete(said, who)
			}
			if len(said) > 0 {
				t.Errorf("unexpected failures: %q", said)
			}
		})
	}
}

// TestSlowest checks that the slowest tests are listed, in order.
func TestSlowest(t *testing.T) {
	r := newResults([]job.Run{{Name: "a"}})
	messages := []job.Message{{Kind: job.Start, Run: "a"}}
	for _, test := range []string{"TestA (12.30s)", "TestB (99.00s)", "TestC (9.90s)", "TestD (14.00s)", "TestE (20.00s)"} {
		name, _, _ := strings.Cut(test, " ")
		messages = append(messages, marked("=== RUN   "+name), marked("--- PASS: "+test), marked("=== NAME  "))
	}
	for _, m := range append(messages, job.Message{Kind: job.End, Run: "a"}) {
		if err := r.take(m); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := r.runs[0].slowest(), ", TestB 99, TestE 20, TestD 14"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPassed checks which tests of a machine count as passed.
func TestPassed(t *testing.T) {
	r := newResults([]job.Run{{Name: "a in 128 MiB"}})
	for name, o := range map[string]outcome{"TestX": passed, "TestX/sub": passed, "TestY": skipped, "TestZ": failed, "TestLost": running} {
		r.runs[0].order = append(r.runs[0].order, name)
		r.runs[0].tests[name] = &testResult{outcome: o}
	}
	if got := r.passed(); !slices.Equal(got, []record.Test{{Package: "regrow/a", Name: "TestX"}}) {
		t.Errorf("got %v", got)
	}
}
