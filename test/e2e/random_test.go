package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/restore"
	"regrow/test/rounds"
)

// TestRandomTrees restores random trees of up to 200 tasks, with any strategy, and checks
// each with the kernel: dense, permuted and sparse numbers, shared and private files with
// flags and offsets, pipes with content.
func TestRandomTrees(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "small": 100, "large": 100_000} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "tree.yaml")
	rounds.Check(t, "", 15, func(rt *rapid.T) {
		d := drawTree(rt, dir)
		if err := os.WriteFile(path, []byte(d.yaml.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		strategy := rapid.SampledFrom(restore.Strategies()).Draw(rt, "strategy").String()
		rep := report(rt, run(t, "restore", "-d", "--json", "--strategy", strategy, path))
		problems := prove(d.want, rep)
		problems = append(problems, d.provePipes(rep)...)
		endTree(t)
		if len(problems) > 0 {
			rt.Fatalf("%s\n%s", strings.Join(problems, "\n"), d.yaml.String())
		}
	})
}

// drawn is a random description with its expected tree. The expectation is made together
// with the description, so it does not depend on regrow's decoder.
type drawn struct {
	yaml  strings.Builder
	want  []wantTask
	ends  []wantFD // the open files that a descriptor may have
	pipes map[string]wantPipe
	dir   string
	next  int
}

type wantPipe struct {
	content  string
	capacity int
}

func drawTree(t *rapid.T, dir string) *drawn {
	d := &drawn{dir: dir, pipes: map[string]wantPipe{}}
	tasks := rapid.IntRange(1, []int{4, 30, 200}[rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(t, "size")]).Draw(t, "tasks")
	var files strings.Builder
	for range rapid.IntRange(1, 20).Draw(t, "files") {
		files.WriteString(d.drawFile(t))
	}
	shared := len(d.ends)
	children := make([][]int, tasks)
	for i := 1; i < tasks; i++ {
		parent := rapid.IntRange(max(0, i-5), i-1).Draw(t, "parent")
		if rapid.IntRange(0, 3).Draw(t, "flat") > 0 {
			parent = 0
		}
		children[parent] = append(children[parent], i)
	}
	var body strings.Builder
	var walk func(i int, parent, indent string)
	walk = func(i int, parent, indent string) {
		name := fmt.Sprintf("t%d", i)
		w := wantTask{name: name, parent: parent, fds: map[int]wantFD{}}
		fmt.Fprintf(&body, "%s- name: %s\n%s  fds:\n", indent, name, indent)
		for _, n := range d.drawNumbers(t) {
			if rapid.IntRange(0, 9).Draw(t, "private") == 0 {
				files.WriteString(d.drawFile(t))
			}
			of := d.ends[:shared]
			if len(d.ends) > shared {
				of = append(slices.Clip(of), d.ends[len(d.ends)-1])
			}
			fd := rapid.SampledFrom(of).Draw(t, "end")
			fd.cloexec = rapid.Bool().Draw(t, "cloexec")
			w.fds[n] = fd
			fmt.Fprintf(&body, "%s    %d: {file: %s, cloexec: %v}\n", indent, n, fd.open, fd.cloexec)
		}
		if len(w.fds) == 0 {
			fmt.Fprintf(&body, "%s    {}\n", indent)
		}
		d.want = append(d.want, w)
		if len(children[i]) > 0 {
			fmt.Fprintf(&body, "%s  children:\n", indent)
		}
		for _, c := range children[i] {
			walk(c, name, indent+"    ")
		}
	}
	walk(0, "", "  ")
	fmt.Fprintf(&d.yaml, "version: 1\nfiles:\n%stasks:\n%s", files.String(), body.String())
	return d
}

// drawNumbers returns the numbers of one table: 0 to n without a gap, the same in
// any order, or far apart.
func (d *drawn) drawNumbers(t *rapid.T) []int {
	switch n := rapid.IntRange(0, 12).Draw(t, "n"); rapid.IntRange(0, 2).Draw(t, "numbers") {
	case 0:
		dense := make([]int, n)
		for i := range dense {
			dense[i] = i
		}
		return dense
	case 1:
		return rapid.SliceOfNDistinct(rapid.IntRange(0, 20), n, n, rapid.ID[int]).Draw(t, "permuted")
	default:
		return rapid.SliceOfNDistinct(rapid.IntRange(0, 1000), n, n, rapid.ID[int]).Draw(t, "sparse")
	}
}

// drawFile adds an open file and gives its line.
func (d *drawn) drawFile(t *rapid.T) string {
	name := fmt.Sprintf("f%d", d.next)
	d.next++
	if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
		p := wantPipe{
			content:  rapid.StringMatching(`[a-z]{0,40}`).Draw(t, "content"),
			capacity: rapid.SampledFrom([]int{4096, 5000, 65536, 100_000}).Draw(t, "capacity"),
		}
		d.pipes[name] = p
		r, w := wantFD{open: name + ".r", flags: unix.O_RDONLY}, wantFD{open: name + ".w", flags: unix.O_WRONLY}
		flags := ""
		if rapid.Bool().Draw(t, "nonblock") {
			flags, r.flags = ", flags: {r: [O_NONBLOCK]}", r.flags|unix.O_NONBLOCK
		}
		if p.content != "" && p.capacity > 4096 && rapid.Bool().Draw(t, "packet") { // a read takes the first one
			flags, w.flags = flags+", packet: true, mode: 0640", w.flags|unix.O_DIRECT
			d.ends = append(d.ends, r, w)
			return fmt.Sprintf("  %s: {type: pipe, content: [%q, last], capacity: %d%s}\n", name, p.content, p.capacity, flags)
		}
		d.ends = append(d.ends, r, w)
		line := fmt.Sprintf("  %s: {type: pipe, content: %q, capacity: %d%s}\n", name, p.content, p.capacity, flags)
		if rapid.IntRange(0, 3).Draw(t, "opened again") == 0 {
			again := wantFD{open: name + "-again", flags: rapid.SampledFrom([]int64{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_DIRECT}).Draw(t, "access")}
			d.ends = append(d.ends, again)
			access := map[int64]string{unix.O_RDONLY: "O_RDONLY", unix.O_WRONLY: "O_WRONLY", unix.O_RDWR: "O_RDWR", unix.O_RDONLY | unix.O_DIRECT: "O_DIRECT"}[again.flags]
			line += fmt.Sprintf("  %s: {type: reopen, file: %s.r, flags: [%s]}\n", again.open, name, access)
		}
		return line
	}
	if rapid.IntRange(0, 3).Draw(t, "no path") == 0 {
		return d.drawAnonymous(t, name)
	}
	type choice struct {
		path, flags string
		bits        int64
		seekable    bool
	}
	c := rapid.SampledFrom([]choice{
		{"empty", "O_RDWR", unix.O_RDWR, true},
		{"small", "O_RDONLY", unix.O_RDONLY, true},
		{"small", "O_WRONLY, O_APPEND", unix.O_WRONLY | unix.O_APPEND, true},
		{"large", "O_RDWR, O_NONBLOCK", unix.O_RDWR | unix.O_NONBLOCK, true},
		{"large", "O_PATH", unix.O_PATH, false},
		{".", "O_DIRECTORY", unix.O_DIRECTORY, false},
		{"/dev/null", "O_RDWR", unix.O_RDWR, false},
	}).Draw(t, "file")
	fd := wantFD{open: name, flags: c.bits, path: filepath.Join(d.dir, c.path)}
	if filepath.IsAbs(c.path) {
		fd.path = c.path
	}
	offset := ""
	if c.seekable && rapid.Bool().Draw(t, "seek") {
		fd.pos = rapid.Int64Range(0, 200_000).Draw(t, "offset")
		offset = fmt.Sprintf(", offset: %d", fd.pos)
	}
	d.ends = append(d.ends, fd)
	return fmt.Sprintf("  %s: {type: reg, path: %s, flags: [%s]%s}\n", name, c.path, c.flags, offset)
}

// drawAnonymous adds an open file that has no path. regrow verify and tests of their own
// prove what is in it.
func (d *drawn) drawAnonymous(t *rapid.T, name string) string {
	flags, bits := "", int64(unix.O_RDWR)
	if rapid.Bool().Draw(t, "nonblock") {
		flags, bits = "O_NONBLOCK", bits|unix.O_NONBLOCK
	}
	if rapid.Bool().Draw(t, "pair") {
		return d.drawPair(t, name, flags, bits)
	}
	d.ends = append(d.ends, wantFD{open: name, flags: bits})
	if rapid.Bool().Draw(t, "memfd") {
		keys := "size: 100000"
		if rapid.Bool().Draw(t, "filled") {
			keys += fmt.Sprintf(", content: {%d: %q, 50000: %q}", rapid.IntRange(0, 40_000).Draw(t, "offset"),
				strings.Repeat(rapid.StringMatching(`[a-z]{0,10}`).Draw(t, "piece"), rapid.IntRange(1, 900).Draw(t, "times")), rapid.StringMatching(`[a-z]{0,40}`).Draw(t, "last piece"))
		}
		keys += fmt.Sprintf(", mode: %#o", rapid.IntRange(0, 0o7777).Draw(t, "mode"))
		if rapid.Bool().Draw(t, "sealed") {
			keys += ", seals: [" + rapid.SampledFrom([]string{"", "F_SEAL_SEAL", "F_SEAL_WRITE, F_SEAL_SHRINK", "F_SEAL_GROW"}).Draw(t, "seals") + "]"
		}
		if rapid.Bool().Draw(t, "owned") {
			keys += fmt.Sprintf(", owner: [%d, 5], mtime: 1769860800.25", rapid.IntRange(0, 1<<32-2).Draw(t, "owner"))
		}
		line := fmt.Sprintf("  %s: {type: memfd, name: %s, %s, flags: [%s]}\n", name, name, keys, flags)
		if rapid.Bool().Draw(t, "opened again") {
			again := wantFD{open: name + "-again", flags: unix.O_RDONLY | unix.O_NONBLOCK, pos: rapid.Int64Range(0, 200_000).Draw(t, "offset")}
			d.ends = append(d.ends, again)
			line += fmt.Sprintf("  %s: {type: reopen, file: %s, flags: [O_NONBLOCK], offset: %d}\n", again.open, name, again.pos)
		}
		return line
	}
	if rapid.Bool().Draw(t, "signalfd") {
		some := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"SIGHUP", "SIGUSR1", "SIGCHLD", "SIGSYS", "SIGRTMIN", "SIGRTMIN+7", "SIGRTMAX"}), 0, 5, rapid.ID[string])
		return fmt.Sprintf("  %s: {type: signalfd, signals: [%s], flags: [%s]}\n", name, strings.Join(some.Draw(t, "signals"), ", "), flags)
	}
	return fmt.Sprintf("  %s: {type: eventfd, counter: %d, semaphore: %v, flags: [%s]}\n", name,
		rapid.Uint64Max(1<<64-2).Draw(t, "counter"), rapid.Bool().Draw(t, "semaphore"), flags)
}

// drawPair adds a pair of sockets, in whose queues any open files wait, itself too.
func (d *drawn) drawPair(t *rapid.T, name, flags string, bits int64) string {
	d.ends = append(d.ends, wantFD{open: name + ".a", flags: bits}, wantFD{open: name + ".b", flags: bits})
	var queues []string
	for _, end := range []string{"a", "b"} {
		var items []string
		for range rapid.IntRange(0, 3).Draw(t, "waiting") {
			var files []string
			for range rapid.IntRange(0, 2).Draw(t, "files in it") {
				files = append(files, rapid.SampledFrom(d.ends).Draw(t, "file in it").open)
			}
			items = append(items, fmt.Sprintf("{data: %q, files: [%s]}", rapid.StringMatching(`[a-z]{1,9}`).Draw(t, "data"), strings.Join(files, ", ")))
		}
		queues = append(queues, fmt.Sprintf("%s: [%s]", end, strings.Join(items, ", ")))
	}
	return fmt.Sprintf("  %s: {type: unix, pair: %s, queue: {%s}, flags: [%s]}\n", name,
		rapid.SampledFrom([]string{"stream", "dgram", "seqpacket"}).Draw(t, "type"), strings.Join(queues, ", "), flags)
}
