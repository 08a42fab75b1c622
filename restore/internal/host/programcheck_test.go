package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// tinyELF is a static binary of this machine that ends at once: one segment, and
// if interp is not "" a PT_INTERP before it.
func tinyELF(interp string) []byte {
	const base, header, phdr = 0x10000, 64, 56
	machine, code := uint16(62), []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05} // xor edi, edi; mov eax, 60; syscall
	if runtime.GOARCH == "arm64" {
		machine, code = 183, []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4} // mov x0, 0; mov x8, 93; svc 0
	}
	phnum := 1
	if interp != "" {
		phnum = 2
	}
	begin := header + phdr*phnum
	name := ""
	if interp != "" {
		name = interp + "\x00"
	}
	size := uint64(begin + len(code) + len(name))
	le := binary.LittleEndian
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+uint64(begin)) // entry
	b = le.AppendUint64(b, header)             // phoff
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, n := range []uint16{header, phdr, uint16(phnum), 64, 0, 0} {
		b = le.AppendUint16(b, n)
	}
	segment := func(kind, flags uint32, offset, addr, size uint64) {
		b = le.AppendUint32(b, kind)
		b = le.AppendUint32(b, flags)
		for _, n := range []uint64{offset, addr, addr, size, size, 0x1000} {
			b = le.AppendUint64(b, n)
		}
	}
	if interp != "" {
		segment(3, 4, uint64(begin+len(code)), 0, uint64(len(name)))
	}
	segment(1, 5, 0, base, size)
	return append(append(b, code...), name...)
}

// aProgram is a program to be executed, in a folder of its own.
type aProgram struct {
	dir     string
	path    string
	argv    []string
	env     []string
	writing string // a file that is open for writing, "" none
	left    bool   // only the kernel can tell
}

// write makes a file in the folder.
func (p *aProgram) write(t *rapid.T, name string, content []byte, mode os.FileMode) string {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// drawProgram draws a program: scripts, one the interpreter of the other, and a
// binary in the end, with all that can be wrong with them.
func drawProgram(t *rapid.T, dir string) *aProgram {
	p := &aProgram{dir: dir}
	mode := func(label string) os.FileMode {
		return os.FileMode(rapid.SampledFrom([]uint32{0o755, 0o755, 0o755, 0o700, 0o111, 0o644}).Draw(t, label))
	}
	next := p.drawBinary(t)
	for i := range rapid.IntRange(0, 7).Draw(t, "scripts") {
		next = p.write(t, fmt.Sprintf("script%d", i), p.drawScript(t, next), mode("mode"))
	}
	p.path = filepath.Join(dir, filepath.Base(next))
	if _, err := os.Stat(p.path); err != nil || !strings.HasPrefix(next, dir) && !strings.HasPrefix(next, "./") {
		p.path = p.write(t, "script", []byte("#!"+next+"\n"), 0o755)
	}
	p.argv = []string{p.path}
	for range rapid.IntRange(0, 3).Draw(t, "arguments") {
		p.argv = append(p.argv, rapid.SampledFrom([]string{"", "x", "two words"}).Draw(t, "argument"))
	}
	switch rapid.IntRange(0, 9).Draw(t, "writing") {
	case 0:
		p.writing = p.path
	case 1:
		p.writing = filepath.Join(dir, "binary")
	case 2:
		p.writing = filepath.Join(dir, "loader")
	}
	if _, err := os.Stat(p.writing); err != nil {
		p.writing = ""
	}
	return p
}

// drawScript draws a script with this interpreter.
func (p *aProgram) drawScript(t *rapid.T, interp string) []byte {
	switch rapid.IntRange(0, 14).Draw(t, "interpreter") {
	case 0:
		interp = "/nonexistent/interpreter"
	case 1:
		interp = p.dir // a folder
	case 2:
		interp = "/dev/null"
	case 3:
		interp = ""
	case 4:
		interp = "\x00" + interp
	case 5:
		interp = "./" + filepath.Base(interp)
	case 6:
		interp = "/etc/passwd/x"
	case 7:
		interp = strings.Repeat("/", rapid.IntRange(200, 270).Draw(t, "slashes")-len(interp)) + interp
	}
	blanks := rapid.SampledFrom([]string{"", " ", "\t", " \t "})
	line := "#!" + blanks.Draw(t, "before") + interp + blanks.Draw(t, "behind")
	if arg := rapid.SampledFrom([]string{"", "-e", "two words", "nul\x00nul", "\x00"}).Draw(t, "arg"); arg != "" {
		line += " " + arg + blanks.Draw(t, "end")
	}
	line += rapid.SampledFrom([]string{"\n", "\nexit 0\n", "", strings.Repeat(" ", 300), strings.Repeat("x", 300), " " + strings.Repeat("x", 300)}).Draw(t, "rest")
	return []byte(line)
}

// drawBinary draws what stands at the end of the scripts.
func (p *aProgram) drawBinary(t *rapid.T) string {
	interp := ""
	switch rapid.IntRange(0, 12).Draw(t, "loader") {
	case 7:
		interp = "\x00"
	case 8:
		interp = "./binary"
	case 0:
		interp = "/nonexistent/ld.so"
	case 1:
		interp = p.dir
	case 2, 3, 4:
		interp = p.write(t, "loader", p.mutate(t, tinyELF("")), 0o755)
	case 5:
		interp = p.write(t, "loader", []byte("#!/bin/sh\n"+strings.Repeat("# no loader\n", 9)), 0o755)
	case 6:
		interp = p.write(t, "loader", tinyELF(""), 0o644)
	}
	content := tinyELF(interp)
	switch rapid.IntRange(0, 8).Draw(t, "binary") {
	case 0:
		content = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "junk")
	case 1:
		content = []byte(rapid.StringN(0, 30, 60).Draw(t, "text"))
	case 2, 3, 4:
		content = p.mutate(t, content)
	}
	if len(content) > 1 && slices.Contains([]uint16{0o407, 0o410, 0o413, 0o314}, binary.LittleEndian.Uint16(content)) {
		p.left = true
	}
	if strings.HasPrefix(string(content), "#!") {
		p.left = true // as likely as not an interpreter of one letter
	}
	return p.write(t, "binary", content, 0o755)
}

// mutate changes one of the fields that the kernel looks at before it replaces the
// process.
func (p *aProgram) mutate(t *rapid.T, b []byte) []byte {
	b = slices.Clone(b)
	le := binary.LittleEndian
	any16 := func(some ...uint16) uint16 { return rapid.SampledFrom(some).Draw(t, "value") }
	any64 := func(some ...uint64) uint64 { return rapid.SampledFrom(some).Draw(t, "value") }
	const firstPhdr = 64
	switch rapid.IntRange(0, 8).Draw(t, "field") {
	case 0:
		b[rapid.IntRange(0, 3).Draw(t, "byte")] = 'x'
	case 1:
		le.PutUint16(b[16:], any16(0, 1, 4, 0xfe00))
	case 2:
		le.PutUint16(b[18:], any16(0, 2, 20, 243, 0xffff))
	case 3:
		le.PutUint16(b[54:], any16(0, 32, 55, 57))
	case 4:
		le.PutUint16(b[56:], any16(0, 74, 1171, 0xffff))
	case 5:
		le.PutUint64(b[32:], any64(1<<20, 1<<63-57, 1<<63, 1<<64-1))
	case 6:
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
	case 7: // of PT_INTERP, if there is one
		if le.Uint32(b[firstPhdr:]) == 3 {
			le.PutUint64(b[firstPhdr+32:], any64(0, 1, 4096, 4097, 1<<40))
		}
	case 8:
		if le.Uint32(b[firstPhdr:]) == 3 {
			le.PutUint64(b[firstPhdr+8:], any64(0, 1<<20, 1<<63-1, 1<<63))
		}
	}
	return b
}

// tree is one task that becomes the program.
func (p *aProgram) tree(t testing.TB) *tasktree.Tree {
	task := &tasktree.Task{Name: "a", EnvClear: true, Cwd: plantest.Text(p.dir)}
	for _, arg := range p.argv {
		task.Run = append(task.Run, plantest.Text(arg))
	}
	for i, kv := range p.env {
		name, value, _ := strings.Cut(kv, "=")
		task.Env = append(task.Env, tasktree.EnvVar{Name: name, Value: value, Pos: tasktree.Pos{Line: 20 + i, Col: 1}})
	}
	tree := &tasktree.Tree{Source: "tree.yaml", Root: task}
	if p.writing != "" {
		tree.Files = []*tasktree.OpenFile{{Name: "w", Spec: &kind.Reg{Path: plantest.Text(p.writing), Flags: kind.Flags{Bits: unix.O_WRONLY}}}}
		task.FDs = []tasktree.Descriptor{{FD: 3, File: plantest.Text("w")}}
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// checked gives what is wrong with the program, found without executing it.
func (p *aProgram) checked(t testing.TB) []error {
	made := plantest.Must(t)(planner.New(p.tree(t), plantest.Host, plan.Options{}))
	if err := executable(safepath.New(false), p.path); err != nil {
		return []error{err}
	}
	c := NewProgramCheck(made, func(plan.FileEnd) (int, bool) { return -1, false })
	return c.Check(func(uint64) (string, bool) { return p.path, true })
}

// executed gives what the kernel answers, 0 if it begins to execute the program.
func (p *aProgram) executed(t testing.TB) unix.Errno {
	if p.writing != "" {
		w, err := os.OpenFile(p.writing, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path)
	cmd.Args, cmd.Env, cmd.Dir = p.argv, p.env, p.dir
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	err := cmd.Start()
	if err == nil {
		_ = cmd.Wait() // however it ends
		return 0
	}
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		t.Fatal(err)
	}
	return errno
}

// agree compares what was found with what the kernel answers. Where one error
// comes first and where another depends on the kernel, so any that was found will
// do.
func (p *aProgram) agree(t testing.TB) {
	found := p.checked(t)
	real := p.executed(t)
	switch {
	case real == 0 && len(found) > 0 && p.writing != "" && errors.Is(found[0], unix.ETXTBSY):
		// a rule of our own: Linux 6.11 executes it
	case real == 0 && len(found) > 0:
		t.Fatalf("refused, and the kernel executes it: %v", found)
	case real != 0 && len(found) == 0 && !p.left && !p.unreadable() && !maybeMisc():
		t.Fatalf("nothing found, and the kernel says: %v", real)
	case real != 0 && len(found) > 0 && !slices.ContainsFunc(found, func(err error) bool { return errors.Is(err, real) }):
		t.Fatalf("found %v, and the kernel says: %v", found, real)
	}
	for _, err := range found {
		if words := unix.Errno(0); errors.As(err, &words) && !strings.HasSuffix(err.Error(), words.Error()) {
			t.Errorf("%q does not end with %q", err, words)
		}
	}
}

// maybeMisc reports whether binfmt_misc has entries, or may have some that are not
// seen: then more is left to the kernel.
func maybeMisc() bool {
	entries, hidden := askMisc()
	return hidden || len(entries) > 0
}

// unreadable reports whether one of the files may be executed and not read: root
// reads all of them.
func (p *aProgram) unreadable() bool {
	files, _ := os.ReadDir(p.dir)
	return os.Geteuid() != 0 && slices.ContainsFunc(files, func(f os.DirEntry) bool {
		info, err := f.Info()
		return err == nil && info.Mode().Perm() == 0o111
	})
}

// TestProgramsAsTheKernel holds what is found out about programs against what the
// kernel says of them, which executes each.
func TestProgramsAsTheKernel(t *testing.T) {
	parent := t.TempDir()
	refused := 0
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		p := drawProgram(rt, dir)
		p.agree(failing{t, rt})
		if len(p.checked(failing{t, rt})) > 0 {
			refused++
		}
	})
	if refused < 10 {
		t.Errorf("%d programs were refused: the test draws none that is wrong", refused)
	}
}

// failing is a test whose failures are rapid's, which makes the case smaller.
type failing struct {
	testing.TB
	rt *rapid.T
}

func (f failing) Fatalf(format string, args ...any) { f.rt.Fatalf(format, args...) }
func (f failing) Errorf(format string, args ...any) { f.rt.Errorf(format, args...) }
func (f failing) Fatal(args ...any)                 { f.rt.Fatal(args...) }
func (f failing) Helper()                           {}

// TestSizesAsTheKernel holds the limits of arguments to the byte.
func TestSizesAsTheKernel(t *testing.T) {
	dir := t.TempDir()
	page := os.Getpagesize()
	binary := filepath.Join(dir, "binary")
	script := filepath.Join(dir, "script")
	deep := filepath.Join(dir, "deep")
	for path, content := range map[string]string{
		binary: string(tinyELF("")), script: "#!" + binary + " an argument\n", deep: "#!" + script + "\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	strings32 := func(n, size int) (all []string) {
		for range n {
			all = append(all, strings.Repeat("x", size))
		}
		return all
	}
	long := 32*page - 1
	for _, path := range []string{binary, script, deep} {
		full := &aProgram{dir: dir, path: path, argv: append([]string{path}, strings32(10, long)...), env: []string{"A=" + strings.Repeat("y", long-2)}}
		for full.executed(t) == 0 {
			full.argv = append(full.argv, strings.Repeat("x", long))
		}
		// The last argument makes it exact: find the length at which it is refused.
		last := len(full.argv) - 1
		low, high := 0, long
		for low < high {
			full.argv[last] = strings.Repeat("z", (low+high+1)/2)
			if full.executed(t) == 0 {
				low = (low + high + 1) / 2
			} else {
				high = (low+high+1)/2 - 1
			}
		}
		t.Logf("%s: %d arguments, the last may have %d bytes", filepath.Base(path), last, low)
		if low == 0 || low == long {
			t.Fatalf("%s: no length of the last argument is the limit: %d", path, low)
		}
		for _, n := range []int{low, low + 1} {
			full.argv[last] = strings.Repeat("z", n)
			full.agree(t)
		}
	}
	for _, p := range []aProgram{
		{argv: []string{binary, strings.Repeat("x", long)}},
		{argv: []string{binary, strings.Repeat("x", long+1)}},
		{argv: []string{binary}, env: []string{"A=" + strings.Repeat("x", long-2)}},
		{argv: []string{binary}, env: []string{"A=" + strings.Repeat("x", long-1)}},
	} {
		p.dir, p.path = dir, binary
		p.agree(t)
		found := p.checked(t)
		if len(p.env) > 0 && len(found) > 0 && plan.PosOf(found[0]).Line != 20 {
			t.Errorf("a variable that is too long is said at %v", plan.PosOf(found[0]))
		}
	}
}

// TestFoundOnce holds that a program is looked up and looked at once, however many
// tasks run it.
func TestFoundOnce(t *testing.T) {
	root := &tasktree.Task{Name: "root"}
	for i := range 50 {
		root.Children = append(root.Children, &tasktree.Task{Name: fmt.Sprintf("t%d", i), Run: []tasktree.Text{plantest.Text("true"), plantest.Text(fmt.Sprint(i))}})
	}
	tree := &tasktree.Tree{Source: "tree.yaml", Root: root}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	host := plantest.Host
	host.Environ = []string{"PATH=/usr/bin:/bin"}
	made := plantest.Must(t)(planner.New(tree, host, plan.Options{}))
	lookups := map[uint64]bool{}
	for i := range made.Prepare.Ops {
		if op := &made.Prepare.Ops[i]; op.Kind == program.OpFind {
			lookups[op.Args[0]] = true
		}
	}
	if len(lookups) != 1 {
		t.Errorf("%d lists of places for one program", len(lookups))
	}
	c := NewProgramCheck(made, func(plan.FileEnd) (int, bool) { return -1, false })
	if wrong := c.Check(func(uint64) (string, bool) { return "/bin/true", true }); len(wrong) > 0 {
		t.Error(wrong)
	}
	if len(c.looks) != 1 || len(c.lists) != 51 {
		t.Errorf("%d programs looked at, %d lists of strings; want 1 and 51", len(c.looks), len(c.lists))
	}
}
