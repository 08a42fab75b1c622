package tasktree

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of a description, so that an absurd one costs no more than a message.
const (
	MaxFD       = 1<<30 - 1 // fs.nr_open cannot be set higher on any kernel
	MaxPID      = 1 << 22   // PID_MAX_LIMIT of 64-bit kernels
	MaxNameLen  = 255       // bytes of a task's or an open file's name
	MaxTasks    = 100_000
	MaxTaskDeep = 4096 // levels of children
	MaxPath     = 4095 // bytes of a path: PATH_MAX with its NUL
	MaxProblems = 10_000
)

// Check applies the rules of the model, fills in the derived fields (Task.Index,
// Task.Parent, Descriptor.Open, OpenFile.Uses ...) and returns all problems, sorted by
// position. If there is none, the tree may be planned. If there are more than
// [MaxProblems], Check returns the ones that it found first, and one more that says so.
// Check may be called again after a change.
func (t *Tree) Check() []Problem {
	c := &checker{
		tree:  t,
		files: make(map[string]*OpenFile, len(t.Files)),
		named: make(map[string]*OpenFile, len(t.Files)),
		tasks: map[string]*Task{},
		pids:  map[int64]*Task{},
	}
	t.tasks, t.warnings = nil, nil
	c.namespaces()
	c.openFiles()
	if t.Root == nil {
		c.bad(Pos{}, &KeyPath{Key: "tasks"}, "no task: a tree has exactly one root")
	} else {
		c.task(t.Root, nil, (&KeyPath{Key: "tasks"}).Entry(0), 1)
		c.shares()
		c.standard()
	}
	t.taskBy = c.tasks
	references{c}.resolve()
	c.unused()
	c.scenario()
	t.warnings = c.warnings.sorted()
	return c.problems.sorted()
}

// problemList collects at most MaxProblems problems.
type problemList struct {
	all  []Problem
	more bool
}

func (l *problemList) add(p Problem) {
	if l.full() {
		l.more = true
		return
	}
	l.all = append(l.all, p)
}

func (l *problemList) full() bool { return len(l.all) >= MaxProblems }

func (l *problemList) sorted() []Problem {
	if l.more {
		return append(SortProblems(l.all), TooMany(l.all[len(l.all)-1].Pos))
	}
	return SortProblems(l.all)
}

// TooMany is the problem that ends an incomplete list.
func TooMany(last Pos) Problem {
	return Problem{Pos: last, Msg: fmt.Sprintf("there are more problems; these are the first %d", MaxProblems)}
}

type checker struct {
	tree     *Tree
	files    map[string]*OpenFile
	named    map[string]*OpenFile // by each name that a descriptor may use
	ends     []string             // the same names in the order of the description
	tasks    map[string]*Task
	pids     map[int64]*Task
	paths    []*KeyPath // by Task.Index
	names    []string   // of all tasks, see taskNames
	problems problemList
	warnings problemList
	compared int // bytes compared for hints
}

// bad reports a problem. The message is formatted only if the list is not full.
func (c *checker) bad(pos Pos, path *KeyPath, format string, args ...any) {
	c.problems.report(pos, path, format, args)
}

func (c *checker) warn(pos Pos, path *KeyPath, format string, args ...any) {
	c.warnings.report(pos, path, format, args)
}

func (l *problemList) report(pos Pos, path *KeyPath, format string, args []any) {
	if l.full() {
		l.more = true
		return
	}
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			const most = 1024 // bytes; enough for a name and for any hint
			args[i] = Abbreviate(s, most)
		}
	}
	l.add(Problem{pos, path.String(), fmt.Sprintf(format, args...)})
}

// nearest returns the name that was probably meant. The work is bounded, because to
// compare each of many names with each of many would take minutes.
func (c *checker) nearest(name string, among []string) string {
	const most = 1 << 26
	if c.compared += len(name) * 16 * len(among); c.problems.full() || c.compared > most {
		return ""
	}
	return Nearest(name, among)
}

func (c *checker) namespaces() {
	seen, namespaces := map[Namespace]bool{}, &KeyPath{Key: "namespaces"}
	for i, n := range c.tree.Namespaces {
		path := namespaces.Entry(i)
		switch {
		case !slices.Contains(Namespaces, n.Name):
			c.bad(n.Pos, path, "unknown namespace %q%s; expected one of %s",
				string(n.Name), DidYouMean(string(n.Name), asStrings(Namespaces)), list(Namespaces))
		case seen[n.Name]:
			c.bad(n.Pos, path, "namespace %q is listed twice", string(n.Name))
		}
		seen[n.Name] = true
	}
}

func (c *checker) openFiles() {
	files := &KeyPath{Key: "files"}
	t := c.tree
	t.byName, t.tallies = c.files, map[string]*tally{}
	var named []*OpenFile
	for i, f := range t.Files {
		f.Index, f.Uses = i, nil
		path := files.Sub(f.Name)
		if why := badName(f.Name); why != "" {
			c.bad(f.Pos, path, "open file name %q %s", f.Name, why)
		}
		if first := c.files[f.Name]; first != nil {
			c.bad(f.Pos, path, "open file %q is defined twice%s", f.Name, alsoAt(first.Pos))
			continue
		}
		c.files[f.Name] = f
		if f.Spec == nil {
			c.bad(f.Pos, path.Sub("type"), "the open file has no type")
			c.name(f, f.Name)
			continue
		}
		named = append(named, f)
		for end := range max(1, len(f.Spec.Ends())) {
			c.name(f, f.EndName(end))
		}
	}
	for _, f := range named {
		t.checking = f
		f.Spec.Check(t, func(p Problem) { c.problems.add(f.within(p)) })
		if w, ok := f.Spec.(Warner); ok {
			w.Warn(t, func(p Problem) { c.warnings.add(f.within(p)) })
		}
	}
	t.checking, t.tallies = nil, nil
}

// tally is what [Tree.Tally] has counted.
type tally struct {
	n     int
	first *OpenFile
}

// Tally is for a Spec's Check, and rules about several entries: it counts the calls with
// the same text during one [Tree.Check], this one too, and gives the entry whose check
// called it first. So no rule looks at each pair of entries, of which there may be very
// many. Elsewhere n is 1, and first nil.
func (t *Tree) Tally(what string) (n int, first *OpenFile) {
	if t.tallies == nil {
		return 1, nil
	}
	c := t.tallies[what]
	if c == nil {
		c = &tally{first: t.checking}
		t.tallies[what] = c
	}
	c.n++
	return c.n, c.first
}

// within adds the position and the path of the entry to a problem of its spec.
func (f *OpenFile) within(p Problem) Problem {
	if !p.Pos.IsValid() {
		p.Pos = f.Pos
	}
	p.Path = strings.TrimSuffix((&KeyPath{Key: "files"}).Sub(f.Name).String()+"."+p.Path, ".")
	return p
}

// name adds a name that descriptors may use. If two files have it, the first one keeps it:
// a name with a dot is invalid, but must not change messages about other files.
func (c *checker) name(f *OpenFile, name string) {
	if c.named[name] == nil {
		c.named[name] = f
		c.ends = append(c.ends, name)
	}
}

func (c *checker) task(task, parent *Task, path *KeyPath, depth int) {
	task.Index, task.Parent = len(c.tree.tasks), parent
	task.Owner, task.Carried, task.Namespaces = nil, nil, nil
	if parent == nil {
		task.Namespaces = c.tree.Namespaces
	}
	c.tree.tasks, c.paths = append(c.tree.tasks, task), append(c.paths, path)
	if len(c.tree.tasks) == MaxTasks+1 {
		c.bad(task.Pos, path, "too many tasks: at most %d", MaxTasks)
	}
	if len(c.tree.tasks) > MaxTasks {
		return
	}
	if why := badName(task.Name); why != "" {
		c.bad(task.Pos, path.Sub("name"), "task name %q %s", task.Name, why)
	} else if first := c.tasks[task.Name]; first != nil {
		c.bad(task.Pos, path.Sub("name"), "task name %q is used twice%s%s", task.Name, alsoAt(first.Pos), byAlias(task))
	} else {
		c.tasks[task.Name] = task
	}
	c.pid(task, path)
	c.descriptors(task, path)
	c.cloexec(task, path)
	c.program(task, path)
	c.attributes(task, path)
	if depth >= MaxTaskDeep && len(task.Children) > 0 {
		c.bad(task.Pos, path.Sub("children"), "the tree is too deep: at most %d levels", MaxTaskDeep)
		return
	}
	if len(task.Children) == 0 {
		return
	}
	children := path.Sub("children")
	for i, child := range task.Children {
		c.task(child, task, children.Entry(i), depth+1)
	}
}

func (c *checker) pid(task *Task, path *KeyPath) {
	pid := task.PID.Value
	if pid == 0 {
		return
	}
	bad := func(format string, args ...any) {
		c.bad(task.PID.Pos, path.Sub("pid"), format, args...)
	}
	inNamespace := c.tree.HasNamespace(NamespacePID)
	switch first := c.pids[pid]; {
	case pid < 0 || pid > MaxPID:
		bad("pid %d is out of range: expected 1 to %d", pid, MaxPID)
	case first != nil:
		bad("pid %d is also the pid of task %q%s%s", pid, first.Name, alsoAt(first.PID.Pos), byAlias(task))
	case inNamespace && task.Parent == nil && pid != 1:
		bad("the root of a new pid namespace cannot have pid %d; write 1, which the kernel gives the first task", pid)
	case inNamespace && task.Parent != nil && pid == 1:
		bad("in a new pid namespace pid 1 belongs to the root")
	default:
		c.pids[pid] = task
	}
}

func (c *checker) descriptors(task *Task, path *KeyPath) {
	seen := seenNumbers{fds: task.FDs, highest: -1}
	at := func(d *Descriptor) *KeyPath { return path.Sub("fds").Sub(strconv.Itoa(d.FD)) }
	for i := range task.FDs {
		d := &task.FDs[i]
		d.Open, d.End = nil, 0
		if d.FD < 0 || d.FD > MaxFD {
			c.bad(d.Pos, at(d), "descriptor %d is out of range: expected 0 to %d", d.FD, MaxFD)
			continue
		}
		if first := seen.before(i); first != nil {
			c.bad(d.Pos, at(d), "descriptor %d is given twice%s", d.FD, alsoAt(first.Pos))
			continue
		}
		c.resolve(task, d, at)
	}
}

// seenNumbers finds duplicate numbers. It needs no map as long as the numbers ascend, as
// they mostly do.
type seenNumbers struct {
	fds     []Descriptor
	highest int
	at      map[int]int // index by number; nil as long as the numbers ascend
}

// before returns the first descriptor before fds[i] with the same number, or nil. It must be called
// for ascending i.
func (s *seenNumbers) before(i int) *Descriptor {
	n := s.fds[i].FD
	if s.at == nil {
		if n > s.highest {
			s.highest = n
			return nil
		}
		s.at = make(map[int]int, len(s.fds))
		for j := range s.fds[:i] {
			s.at[s.fds[j].FD] = j
		}
	}
	if first, twice := s.at[n]; twice {
		return &s.fds[first]
	}
	s.at[n] = i
	return nil
}

// resolve sets the open file that a descriptor names.
func (c *checker) resolve(task *Task, d *Descriptor, at func(*Descriptor) *KeyPath) {
	name, endName, dotted := strings.Cut(d.File.Value, ".")
	f := c.files[name]
	if named := c.named[d.File.Value]; named != nil && named != f {
		return // a file with an invalid name, which was reported
	}
	if f == nil {
		hint := ""
		if best := c.nearest(d.File.Value, c.ends); best != "" {
			hint = fmt.Sprintf(" (did you mean %q%s?)", best, definedAt(c.named[best].Pos))
		} else if !c.problems.full() {
			hint = define(d.File.Value)
		}
		c.bad(d.File.Pos, at(d), "unknown open file %q%s", d.File.Value, hint)
		return
	}
	if f.Spec == nil {
		return // was reported with the file
	}
	end, ends := 0, f.Spec.Ends()
	switch {
	case len(ends) == 0 && dotted:
		c.bad(d.File.Pos, at(d), "open file %q is %s and has no ends (write %q)", name, WithArticle(f.Spec.Kind()), name)
		return
	case len(ends) > 0:
		if end = slices.Index(ends, endName); end < 0 {
			c.bad(d.File.Pos, at(d), "%q does not name an end of the %s %q; write %s",
				d.File.Value, f.Spec.Kind(), name, endNames(f))
			return
		}
	}
	d.Open, d.End = f, end
	f.Uses = append(f.Uses, Use{Task: task, FD: d.FD, End: end})
}

func (c *checker) program(task *Task, path *KeyPath) {
	const noProgram = "run is empty; write a program and its arguments (a task without run holds)"
	switch {
	case task.Run == nil:
	case len(task.Run) == 0:
		c.bad(task.RunPos, path.Sub("run"), noProgram)
	case task.Run[0].Value == "":
		c.bad(task.RunPos, path.Sub("run").Entry(0), noProgram)
	}
	for i, arg := range task.Run {
		if strings.ContainsRune(arg.Value, 0) {
			c.bad(arg.Pos, path.Sub("run").Entry(i), "a NUL byte cannot be part of an argument")
		}
	}
	if p := firstOf(task.Run); len(p.Value) > MaxPath {
		c.bad(p.Pos, path.Sub("run"), "the path has %d bytes; the kernel takes at most %d", len(p.Value), MaxPath)
	} else if why := AnotherProcess(p.Value); why != "" {
		why, _, _ = strings.Cut(why, ";")
		c.bad(p.Pos, path.Sub("run"), "%q %s", p.Value, why)
	}
	if task.Holds() && (len(task.Env) > 0 || task.EnvClear) {
		c.warn(task.Pos, path, "env has no effect without run")
	}
}

func (c *checker) unused() {
	for _, f := range c.tree.Files {
		if !f.Needed && f.Spec != nil && c.files[f.Name] == f {
			c.warn(f.Pos, (&KeyPath{Key: "files"}).Sub(f.Name), "open file %q is used by no task and will not be made", f.Name)
		}
	}
}

func firstOf(texts []Text) Text {
	if len(texts) == 0 {
		return Text{}
	}
	return texts[0]
}

// badName returns what is wrong with the name of a task or an open file, or "".
func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxNameLen:
		return fmt.Sprintf("is longer than %d bytes", MaxNameLen)
	}
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '_', b == '-' && i > 0:
		default:
			return "is invalid; use letters, digits, _ and -, and do not begin with -"
		}
	}
	return ""
}

func alsoAt(p Pos) string {
	if !p.IsValid() {
		return ""
	}
	return " (first at " + p.String() + ")"
}

// byAlias names the alias that repeats a task, if an alias does.
func byAlias(t *Task) string {
	if !t.Alias.IsValid() {
		return ""
	}
	return ", again through the alias at " + t.Alias.String()
}

func definedAt(p Pos) string {
	if !p.IsValid() {
		return ""
	}
	return ", defined at " + p.String()
}

func endNames(f *OpenFile) string {
	names := make([]string, len(f.Spec.Ends()))
	for i := range names {
		names[i] = f.EndName(i)
	}
	return strings.Join(names, " or ")
}

func list[T ~string](words []T) string { return strings.Join(asStrings(words), ", ") }

func asStrings[T ~string](words []T) []string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = string(w)
	}
	return s
}
