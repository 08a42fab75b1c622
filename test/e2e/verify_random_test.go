package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"regrow/restore"
	"regrow/test/rounds"
)

const verifiesEnv = "REGROW_TEST_VERIFIES"

// TestVerifyRandomTrees restores random trees with every kind, attribute and way to share:
// verify finds each as it is described, at every level; finds the difference where the
// description says something else in one place; and where something happens to the tree.
func TestVerifyRandomTrees(t *testing.T) {
	needRoot(t)
	if os.Getenv(verifiesEnv) == "" {
		t.Setenv(verifiesEnv, strconv.Itoa(map[rounds.Level]int{rounds.Few: 20, rounds.All: 200, rounds.Soak: 10_000}[rounds.Now(t)]))
	}
	r := newRandomTrees(t)
	counts := map[string]int{}
	rounds.Check(t, verifiesEnv, 20, func(rt *rapid.T) { r.verify(t, rt, counts) })
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%6d %s", counts[what], what)
	}
}

// randomTrees restores them in one folder.
type randomTrees struct {
	dir          string
	right, wrong string // descriptions
	given        []*os.File
}

func newRandomTrees(t *testing.T) *randomTrees {
	dir := t.TempDir()
	for name, size := range map[string]int{"empty": 0, "small": 100, "large": 100_000, "sub/inner": 10} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"link": "small", "way": "sub", "again": "way/inner"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "given")
	return &randomTrees{
		dir: dir, right: filepath.Join(dir, "tree.yaml"), wrong: filepath.Join(dir, "wrong.yaml"),
		given: opened(t, path, path, path), // three open files of one path
	}
}

// regrow runs it with what a tree is given.
func (r *randomTrees) regrow(t *testing.T, tree *randomTree, args ...string) result {
	t.Helper()
	keys := map[string]int{}
	for _, f := range tree.files {
		switch {
		case f.kind == "inherit":
			keys[f.key()] = f.lent
		case f.lent >= 0:
			keys[f.name] = f.lent
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		args = append(args, "--inherit-fd", fmt.Sprintf("%s=%d", key, 3+keys[key]))
	}
	cmd := exec.Command(regrow, args...)
	cmd.ExtraFiles = r.given
	return wait(t, startBy(t, cmd, (*exec.Cmd).Start))
}

func (r *randomTrees) verify(t *testing.T, rt *rapid.T, counts map[string]int) {
	tree := r.draw(rt)
	text := tree.render()
	changed := tree.clone()
	change := rapid.SampledFrom(descriptionChanges).Draw(rt, "change")
	line := change.do(rt, changed)
	other := changed.render()
	for path, text := range map[string]string{r.right: text, r.wrong: other} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			rt.Fatal(err)
		}
	}
	strategy := rapid.SampledFrom(restore.Strategies()).Draw(rt, "strategy").String()
	rep := report(rt, r.regrow(t, tree, "restore", "-d", "--json", "--strategy", strategy, r.right))
	defer endTree(t)
	root, pids := strconv.Itoa(rep.Tasks[0].HostPID), pidsOf(rep)
	for _, task := range tree.tasks {
		if task.run {
			becomes(t, pids[task.name], "sleep")
		}
	}
	args := []string{"verify", r.right, root}
	if level := rapid.SampledFrom([]string{"", "", "shape", "state", "exact"}).Draw(rt, "level"); level != "" && (level != "exact" || tree.holds()) {
		args = append(args, "--level", level)
	}
	if res := r.regrow(t, tree, args...); res.status != 0 {
		rt.Fatalf("%v: status %d: %s%s\n%s", args[3:], res.status, res.out, res.errors, text)
	}
	counts["trees"]++
	if line != nil {
		r.differs(t, rt, changed, r.wrong, root, *line, change.name+"\n"+other)
		counts["described otherwise: "+change.name]++
	}
	event := rapid.SampledFrom(liveEvents).Draw(rt, "event")
	if event.injects && !canInject {
		return
	}
	if line := event.do(t, rt, tree, pids); line != nil {
		r.differs(t, rt, tree, r.right, root, *line, event.name+"\n"+text)
		counts["happened: "+event.name]++
	}
}

// anyLine stands for the line of a difference that may be at several places.
var anyLine = new(int)

func (r *randomTrees) differs(t *testing.T, rt *rapid.T, tree *randomTree, path, root string, line int, why string) {
	res := r.regrow(t, tree, "verify", path, root)
	place := path + ":"
	if line > 0 {
		place += strconv.Itoa(line) + ":"
	}
	if res.status != 1 || !strings.Contains("\n"+res.out, "\n"+place) {
		rt.Fatalf("status %d, want a difference at %s\n%s%s\n%s", res.status, place, res.out, res.errors, why)
	}
}

// randomTree is a description as data, with the lines that it has once it is rendered.
type randomTree struct {
	namespaces string
	files      []*randomFile
	tasks      []*randomTask // a parent before its children; [0] is the root
	line       int           // of the namespaces
}

type randomFile struct {
	name, kind string
	path       string
	flags      []string
	offset     int // -1: not said
	seekable   bool
	content    string // of a pipe
	capacity   int    // 0: not said
	nonblock   bool   // the read end of a pipe
	unlinked   bool
	packet     bool   // content is a packet
	owner      int    // -1: not said
	mode       string // "": not said
	queues     [2][]randomItem
	shut       string // of the end a of a pair
	lent       int    // the caller's descriptor that it is, or that takes its place; -1: none
	line       int
}

// randomItem waits in a socket.
type randomItem struct {
	data  string
	files []string // with their ends
}

func (f *randomFile) key() string { return fmt.Sprintf("key%d", f.lent) }

func (f *randomFile) ends() []string {
	switch f.kind {
	case "pipe":
		return []string{".r", ".w"}
	case "fifo":
		return []string{".r", ".w", ".rw"}
	case "unix":
		return []string{".a", ".b"}
	}
	return []string{""}
}

type randomFD struct {
	number  int
	file    int
	end     string
	cloexec bool
	line    int
}

type randomTask struct {
	name             string
	parent           int // -1: the root
	pid              int // 0: not said
	fds              []*randomFD
	shares           int // the task whose table it has, -1: its own
	cwd, umask, nice string
	short            bool // cloexec in the short form
	run              bool
	line             int
	keys             map[string]int // lines
}

func (t *randomTree) clone() *randomTree {
	c := *t
	c.files, c.tasks = nil, nil
	for _, f := range t.files {
		file := *f
		file.flags = slices.Clone(f.flags)
		c.files = append(c.files, &file)
	}
	for _, task := range t.tasks {
		copied := *task
		copied.fds = nil
		for _, d := range task.fds {
			fd := *d
			copied.fds = append(copied.fds, &fd)
		}
		copied.keys = nil
		c.tasks = append(c.tasks, &copied)
	}
	return &c
}

func (t *randomTree) holds() bool {
	return !slices.ContainsFunc(t.tasks, func(task *randomTask) bool { return task.run })
}

// table gives the descriptors of a task.
func (t *randomTree) table(task *randomTask) []*randomFD {
	if task.shares >= 0 {
		return t.tasks[task.shares].fds
	}
	return task.fds
}

// rests reports whether a file is made and used, and only by tasks that hold.
func (t *randomTree) rests(file int) bool {
	used := false
	if t.files[file].lent >= 0 {
		return false
	}
	for _, task := range t.tasks {
		for _, d := range t.table(task) {
			if d.file == file {
				used = true
				if task.run {
					return false
				}
			}
		}
	}
	return used
}

// uses counts the descriptors of tasks that are a file's end.
func (t *randomTree) uses(file int, end string) (n int) {
	for _, task := range t.tasks {
		for _, d := range task.fds {
			if d.file == file && d.end == end && (!task.run || !d.cloexec) {
				n++
			}
		}
	}
	return n
}

func (t *randomTree) children(of int) (all []int) {
	for i, task := range t.tasks {
		if task.parent == of {
			all = append(all, i)
		}
	}
	return all
}

// render writes the description, and notes the lines.
func (t *randomTree) render() string {
	var b strings.Builder
	line := 0
	add := func(format string, args ...any) int {
		fmt.Fprintf(&b, format+"\n", args...)
		line++
		return line
	}
	add("version: 1")
	t.line = add("namespaces: [%s]", t.namespaces)
	add("files:")
	for _, f := range t.files {
		f.line = add("  %s: {%s}", f.name, f.render())
	}
	add("tasks:")
	var task func(i int, indent string)
	task = func(i int, indent string) {
		of := t.tasks[i]
		of.line, of.keys = add("%s- name: %s", indent, of.name), map[string]int{}
		key := func(name, value string) {
			if value != "" {
				of.keys[name] = add("%s  %s: %s", indent, name, value)
			}
		}
		if of.pid > 0 {
			key("pid", strconv.Itoa(of.pid))
		}
		if of.shares >= 0 {
			key("shares", "{files: "+t.tasks[of.shares].name+"}")
		} else {
			key("fds", "# one a line")
			var short []string
			for _, d := range of.fds {
				file := t.files[d.file].name + d.end
				switch {
				case !d.cloexec:
				case of.short:
					short = append(short, strconv.Itoa(d.number))
				default:
					file = "{file: " + file + ", cloexec: true}"
				}
				d.line = add("%s    %d: %s", indent, d.number, file)
			}
			if len(of.fds) == 0 {
				add("%s    {}", indent)
			}
			if len(short) > 0 {
				key("cloexec", "["+strings.Join(short, ", ")+"]")
			}
		}
		key("cwd", of.cwd)
		key("umask", of.umask)
		key("nice", of.nice)
		if of.run {
			key("run", "[sleep, 1000]")
		}
		if children := t.children(i); len(children) > 0 {
			add("%s  children:", indent)
			for _, c := range children {
				task(c, indent+"    ")
			}
		}
	}
	task(0, "  ")
	return b.String()
}

func (f *randomFile) render() string {
	switch f.kind {
	case "inherit":
		return "type: inherit, key: " + f.key()
	case "fifo":
		s := fmt.Sprintf("type: fifo, path: %s, ends: [r, w, rw], unlinked: true, content: %q", f.path, f.content)
		if f.mode != "" {
			s += ", mode: " + f.mode
		}
		return s
	case "pipe":
		s := fmt.Sprintf("type: pipe, content: %q", f.content)
		if f.packet {
			s = fmt.Sprintf("type: pipe, packet: true, content: [%q, last]", "p"+f.content)
		}
		if f.owner >= 0 {
			s += fmt.Sprintf(", owner: %d", f.owner)
		}
		if f.mode != "" {
			s += ", mode: " + f.mode
		}
		if f.capacity > 0 {
			s += fmt.Sprintf(", capacity: %d", f.capacity)
		}
		if f.nonblock {
			s += ", flags: {r: [O_NONBLOCK]}"
		}
		return s
	case "unix":
		var queues []string
		for i, end := range []string{"a", "b"} {
			var items []string
			for _, item := range f.queues[i] {
				items = append(items, fmt.Sprintf("{data: %q, files: [%s]}", item.data, strings.Join(item.files, ", ")))
			}
			queues = append(queues, end+": ["+strings.Join(items, ", ")+"]")
		}
		return fmt.Sprintf("type: unix, pair: %s, queue: {%s}, shutdown: {a: %s}, flags: [%s]", f.path, strings.Join(queues, ", "), f.shut, strings.Join(f.flags, ", "))
	}
	s := fmt.Sprintf("type: reg, path: %s, flags: [%s]", f.path, strings.Join(f.flags, ", "))
	if f.offset >= 0 {
		s += fmt.Sprintf(", offset: %d", f.offset)
	}
	if f.unlinked {
		s += ", unlinked: true, size: 8KiB, content: {5000: x}, owner: 1000, mode: 0600, mtime: 1769860800.5"
	}
	return s
}

// some draws true one time in n.
func some(t *rapid.T, n int, what string) bool { return rapid.IntRange(1, n).Draw(t, what) == n }

func (r *randomTrees) draw(t *rapid.T) *randomTree {
	tree := &randomTree{namespaces: rapid.SampledFrom([]string{"", "", "", "pid", "pid", "user, pid"}).Draw(t, "namespaces")}
	for i := range rapid.IntRange(1, 12).Draw(t, "files") {
		tree.files = append(tree.files, r.drawFile(t, i))
	}
	tree.drawQueues(t)
	most := []int{1, 4, 12, 60}[rapid.SampledFrom([]int{0, 1, 1, 1, 2, 2, 3}).Draw(t, "size")]
	flat, program := some(t, 3, "flat"), rapid.SampledFrom([]int{2, 6, 6}).Draw(t, "one in so many runs a program")
	for i := range rapid.IntRange(1, most).Draw(t, "tasks") {
		tree.tasks = append(tree.tasks, tree.drawTask(t, i, flat, program))
	}
	return tree
}

// drawQueues lets anything wait in the queues of sockets, themselves and one another, too.
func (t *randomTree) drawQueues(rt *rapid.T) {
	var all []string
	for _, f := range t.files {
		for _, end := range f.ends() {
			all = append(all, f.name+end)
		}
	}
	for _, f := range t.files {
		if f.kind != "unix" {
			continue
		}
		for end := range f.queues {
			for range rapid.IntRange(0, 3).Draw(rt, "waiting") {
				item := randomItem{data: rapid.StringMatching(`[a-z]{1,9}`).Draw(rt, "data")}
				for range rapid.IntRange(0, 2).Draw(rt, "files in it") {
					item.files = append(item.files, rapid.SampledFrom(all).Draw(rt, "file in it"))
				}
				f.queues[end] = append(f.queues[end], item)
			}
		}
	}
}

func (r *randomTrees) drawFile(t *rapid.T, i int) *randomFile {
	f := &randomFile{name: fmt.Sprintf("f%d", i), offset: -1, lent: -1, owner: -1}
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 3, 4:
		f.kind = "unix"
		f.path = rapid.SampledFrom([]string{"stream", "dgram", "seqpacket"}).Draw(t, "type")
		f.shut = rapid.SampledFrom([]string{"none", "none", "rd", "wr", "rdwr"}).Draw(t, "shut")
		f.flags = rapid.SampledFrom([][]string{nil, {"O_NONBLOCK"}}).Draw(t, "flags")
		return f
	case 0:
		f.kind, f.lent = "inherit", rapid.IntRange(0, len(r.given)-1).Draw(t, "key")
		return f
	case 1, 2:
		f.kind = "pipe"
		f.content = rapid.StringMatching(`[a-z\n]{0,40}`).Draw(t, "content")
		f.capacity = rapid.SampledFrom([]int{0, 4096, 5000, 65536}).Draw(t, "capacity")
		f.packet = (f.capacity == 0 || f.capacity > 8192) && some(t, 3, "packet")
		f.owner = rapid.SampledFrom([]int{-1, -1, 0, 1000}).Draw(t, "owner")
		f.mode = rapid.SampledFrom([]string{"", "", "0", "0640"}).Draw(t, "mode")
		if f.mode == "0" {
			f.mode = `"0"`
		}
		f.nonblock = rapid.Bool().Draw(t, "nonblock")
		return f
	}
	if some(t, 6, "fifo") {
		f.kind, f.path = "fifo", fmt.Sprintf("fifo%d", i)
		f.content = rapid.StringMatching(`[a-z\n]{0,40}`).Draw(t, "content")
		f.mode = rapid.SampledFrom([]string{"", "0640"}).Draw(t, "mode")
		return f
	}
	f.kind = "reg"
	if some(t, 12, "replaced") {
		f.lent = rapid.IntRange(0, len(r.given)-1).Draw(t, "by")
	}
	type choice struct {
		path     string
		seekable bool
		flags    [][]string
	}
	usual := [][]string{{"O_RDWR"}, {"O_RDONLY"}, {"O_WRONLY", "O_APPEND"}, {"O_RDWR", "O_SYNC"}, {"O_RDONLY", "O_NONBLOCK"}, {"O_WRONLY", "O_CREAT"}}
	c := rapid.SampledFrom([]choice{
		{"empty", true, usual},
		{"small", true, usual},
		{"link", true, usual},
		{"./sub/../large", true, usual},
		{"way/inner", true, usual},
		{"again", true, usual},
		{filepath.Join(r.dir, "small"), true, usual},
		{"small", false, [][]string{{"O_PATH"}}},
		{"link", false, [][]string{{"O_PATH", "O_NOFOLLOW"}}},
		{".", false, [][]string{{"O_DIRECTORY"}, {"O_RDONLY"}, {"O_PATH", "O_DIRECTORY"}}},
		{"way", true, [][]string{{"O_RDWR", "O_TMPFILE"}}},
		{fmt.Sprintf("gone%d", i), true, [][]string{{"O_RDWR"}, {"O_RDONLY"}, {"O_WRONLY", "O_APPEND"}}},
		{"cut", true, [][]string{{"O_RDWR", "O_CREAT", "O_TRUNC"}}},
		{"/dev/null", false, [][]string{{"O_RDWR"}, {"O_WRONLY"}}},
		{"/dev/zero", false, [][]string{{"O_RDONLY"}}},
		{"/proc/version", false, [][]string{{"O_RDONLY"}}},
	}).Draw(t, "file")
	f.path, f.seekable, f.unlinked = c.path, c.seekable, strings.HasPrefix(c.path, "gone")
	f.flags = slices.Clone(rapid.SampledFrom(c.flags).Draw(t, "flags"))
	if f.seekable && rapid.Bool().Draw(t, "seek") {
		f.offset = rapid.IntRange(0, 200_000).Draw(t, "offset")
	}
	return f
}

func (t *randomTree) drawTask(rt *rapid.T, i int, flat bool, program int) *randomTask {
	task := &randomTask{name: fmt.Sprintf("t%d", i), parent: -1, shares: -1, short: rapid.Bool().Draw(rt, "short")}
	if some(rt, 8, "long") {
		task.name += "-with-a-long-name" // more than the kernel keeps of it
	}
	if i > 0 {
		holders := []int{}
		for j, other := range t.tasks {
			if !other.run {
				holders = append(holders, j)
			}
		}
		if len(holders) > 0 && !flat {
			task.parent = rapid.SampledFrom(holders).Draw(rt, "parent")
		} else {
			task.parent = 0
		}
	}
	task.run = (i > 0 || !flat) && some(rt, program, "run")
	if task.parent >= 0 && !task.run && !t.tasks[task.parent].run && t.tasks[task.parent].shares < 0 && some(rt, 6, "shares") {
		task.shares = task.parent
	}
	if t.namespaces != "" && i > 0 && some(rt, 4, "exact pid") {
		task.pid = 300 + 7*i
	}
	if some(rt, 4, "cwd") {
		task.cwd = rapid.SampledFrom([]string{"/", "/usr", "sub", "way", "./sub/../way/."}).Draw(rt, "folder")
	}
	if some(rt, 4, "umask") {
		task.umask = rapid.SampledFrom([]string{"0", "0022", "0027", "0777"}).Draw(rt, "mask")
	}
	if some(rt, 4, "nice") {
		task.nice = strconv.Itoa(rapid.IntRange(0, 19).Draw(rt, "value"))
	}
	if task.shares >= 0 {
		return task
	}
	for _, n := range (&drawn{}).drawNumbers(rt) {
		file := rapid.IntRange(0, len(t.files)-1).Draw(rt, "open file")
		task.fds = append(task.fds, &randomFD{
			number: n, file: file, end: rapid.SampledFrom(t.files[file].ends()).Draw(rt, "end"), cloexec: some(rt, 3, "cloexec"),
		})
	}
	return task
}
