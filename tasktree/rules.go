package tasktree

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of what a description may ask for. They keep an absurd description
// from costing more than a message.
const (
	MaxFD       = 1<<30 - 1 // fs.nr_open cannot be set higher on any kernel
	MaxPID      = 1 << 22   // PID_MAX_LIMIT of 64-bit kernels
	MaxNameLen  = 255       // bytes of a task's or an open file's name
	MaxTasks    = 100_000
	MaxTaskDeep = 4096 // levels of children
)

// Check applies the rules of the model, fills in what it derives (Task.Index,
// Task.Parent, Descriptor.Open, OpenFile.Uses ...) and returns every problem,
// sorted by position; none means that the tree may be planned. It may be called
// again after a change.
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
		c.report(Problem{Path: "tasks", Msg: "no task: a tree has exactly one root"})
	} else {
		c.task(t.Root, nil, "tasks[0]", 1)
	}
	c.unused()
	t.warnings = SortProblems(t.warnings)
	return SortProblems(c.problems)
}

type checker struct {
	tree     *Tree
	files    map[string]*OpenFile
	named    map[string]*OpenFile // by every name that a descriptor may use
	ends     []string             // the same names in the description's order
	tasks    map[string]*Task
	pids     map[int64]*Task
	problems []Problem
}

func (c *checker) report(p Problem) { c.problems = append(c.problems, p) }

func (c *checker) namespaces() {
	seen := map[Namespace]bool{}
	for i, n := range c.tree.Namespaces {
		path := fmt.Sprintf("namespaces[%d]", i)
		switch {
		case !slices.Contains(Namespaces, n.Name):
			c.report(Problem{n.Pos, path, fmt.Sprintf("unknown namespace %q, want %s%s",
				n.Name, list(Namespaces), DidYouMean(string(n.Name), asStrings(Namespaces)))})
		case seen[n.Name]:
			c.report(Problem{n.Pos, path, fmt.Sprintf("namespace %q is listed twice", n.Name)})
		}
		seen[n.Name] = true
	}
}

func (c *checker) openFiles() {
	for i, f := range c.tree.Files {
		f.Index, f.Uses = i, nil
		path := "files." + f.Name
		if why := badName(f.Name); why != "" {
			c.report(Problem{f.Pos, path, fmt.Sprintf("open file name %q %s", f.Name, why)})
		}
		if first := c.files[f.Name]; first != nil {
			c.report(Problem{f.Pos, path, fmt.Sprintf("open file %q is defined twice%s", f.Name, alsoAt(first.Pos))})
			continue
		}
		c.files[f.Name] = f
		if f.Spec == nil {
			c.report(Problem{f.Pos, path, "open file without a type"})
			c.name(f, f.Name)
			continue
		}
		for end := range max(1, len(f.Spec.Ends())) {
			c.name(f, f.EndName(end))
		}
		within := func(p Problem) Problem {
			if !p.Pos.IsValid() {
				p.Pos = f.Pos
			}
			p.Path = strings.TrimSuffix(path+"."+p.Path, ".")
			return p
		}
		f.Spec.Check(c.tree, func(p Problem) { c.report(within(p)) })
		if w, ok := f.Spec.(Warner); ok {
			w.Warn(c.tree, func(p Problem) { c.tree.warnings = append(c.tree.warnings, within(p)) })
		}
	}
}

// name lets descriptors use a name. The first file with it keeps it: names with
// a dot are wrong, but must not confuse what is said of others.
func (c *checker) name(f *OpenFile, name string) {
	if c.named[name] == nil {
		c.named[name] = f
		c.ends = append(c.ends, name)
	}
}

func (c *checker) task(task, parent *Task, path string, depth int) {
	task.Index, task.Parent = len(c.tree.tasks), parent
	c.tree.tasks = append(c.tree.tasks, task)
	if len(c.tree.tasks) == MaxTasks+1 {
		c.report(Problem{task.Pos, path, fmt.Sprintf("too many tasks, at most %d", MaxTasks)})
	}
	if len(c.tree.tasks) > MaxTasks {
		return
	}
	if why := badName(task.Name); why != "" {
		c.report(Problem{task.Pos, path + ".name", fmt.Sprintf("task name %q %s", task.Name, why)})
	} else if first := c.tasks[task.Name]; first != nil {
		c.report(Problem{task.Pos, path + ".name", fmt.Sprintf("task name %q is used twice%s", task.Name, alsoAt(first.Pos))})
	} else {
		c.tasks[task.Name] = task
	}
	c.pid(task, path+".pid")
	c.descriptors(task, path+".fds")
	c.program(task, path)
	if depth >= MaxTaskDeep && len(task.Children) > 0 {
		c.report(Problem{task.Pos, path + ".children", fmt.Sprintf("tree is too deep, at most %d levels", MaxTaskDeep)})
		return
	}
	for i, child := range task.Children {
		c.task(child, task, fmt.Sprintf("%s.children[%d]", path, i), depth+1)
	}
}

func (c *checker) pid(task *Task, path string) {
	pid := task.PID.Value
	if pid == 0 {
		return
	}
	bad := func(format string, args ...any) {
		c.report(Problem{task.PID.Pos, path, fmt.Sprintf(format, args...)})
	}
	inNamespace := c.tree.HasNamespace(NamespacePID)
	switch first := c.pids[pid]; {
	case pid < 0 || pid > MaxPID:
		bad("pid %d is out of range, want 1 to %d", pid, MaxPID)
	case first != nil:
		bad("pid %d is given to task %q too%s", pid, first.Name, alsoAt(first.PID.Pos))
	case inNamespace && task.Parent == nil && pid != 1:
		bad("pid %d for the root of a new pid namespace, want 1 (the kernel gives its first task no other)", pid)
	case inNamespace && task.Parent != nil && pid == 1:
		bad("pid 1 is the root's in a new pid namespace")
	default:
		c.pids[pid] = task
	}
}

func (c *checker) descriptors(task *Task, path string) {
	seen := make(map[int]Pos, len(task.FDs))
	for i := range task.FDs {
		d := &task.FDs[i]
		d.Open, d.End = nil, 0
		at := fmt.Sprintf("%s.%d", path, d.FD)
		if d.FD < 0 || d.FD > MaxFD {
			c.report(Problem{d.Pos, at, fmt.Sprintf("descriptor %d is out of range, want 0 to %d", d.FD, MaxFD)})
			continue
		}
		if first, twice := seen[d.FD]; twice {
			c.report(Problem{d.Pos, at, fmt.Sprintf("descriptor %d is given twice%s", d.FD, alsoAt(first))})
			continue
		}
		seen[d.FD] = d.Pos
		c.resolve(task, d, at)
	}
}

// resolve finds the open file that a descriptor names.
func (c *checker) resolve(task *Task, d *Descriptor, path string) {
	name, endName, dotted := strings.Cut(d.File.Value, ".")
	f := c.files[name]
	if named := c.named[d.File.Value]; named != nil && named != f {
		return // a file whose name is wrong: reported there
	}
	if f == nil {
		hint := ""
		if best := Nearest(d.File.Value, c.ends); best != "" {
			hint = fmt.Sprintf(" (did you mean %q%s?)", best, definedAt(c.named[best].Pos))
		}
		c.report(Problem{d.File.Pos, path, fmt.Sprintf("unknown open file %q%s", d.File.Value, hint)})
		return
	}
	if f.Spec == nil {
		return // reported with the file
	}
	end, ends := 0, f.Spec.Ends()
	switch {
	case len(ends) == 0 && dotted:
		c.report(Problem{d.File.Pos, path, fmt.Sprintf("open file %q is a %s and has no ends (write %q)", name, f.Spec.Kind(), name)})
		return
	case len(ends) > 0:
		if end = slices.Index(ends, endName); end < 0 {
			c.report(Problem{d.File.Pos, path, fmt.Sprintf("%q does not name an end of the %s %q, want %s",
				d.File.Value, f.Spec.Kind(), name, endNames(f))})
			return
		}
	}
	d.Open, d.End = f, end
	f.Uses = append(f.Uses, Use{Task: task, FD: d.FD, End: end})
}

func (c *checker) program(task *Task, path string) {
	if task.Run != nil && (len(task.Run) == 0 || task.Run[0].Value == "") {
		c.report(Problem{task.RunPos, path + ".run", "empty run, want a program and its arguments (without run the task holds)"})
	}
	for i, arg := range task.Run {
		if strings.ContainsRune(arg.Value, 0) {
			c.report(Problem{arg.Pos, fmt.Sprintf("%s.run[%d]", path, i), "a NUL byte cannot be part of an argument"})
		}
	}
	for _, v := range task.Env {
		switch {
		case v.Name == "" || strings.ContainsAny(v.Name, "=\x00"):
			c.report(Problem{v.Pos, path + ".env", fmt.Sprintf("bad variable name %q: empty, or with = or a NUL byte", v.Name)})
		case strings.ContainsRune(v.Value, 0):
			c.report(Problem{v.Pos, path + ".env." + v.Name, "a NUL byte cannot be part of a variable"})
		}
	}
	for _, p := range []struct {
		key string
		Text
	}{{".cwd", task.Cwd}, {".run", firstOf(task.Run)}} {
		if why := AnotherProcess(p.Value); why != "" {
			why, _, _ = strings.Cut(why, ";")
			c.report(Problem{p.Pos, path + p.key, fmt.Sprintf("%q %s", p.Value, why)})
		}
	}
	if strings.ContainsRune(task.Cwd.Value, 0) {
		c.report(Problem{task.Cwd.Pos, path + ".cwd", "a NUL byte cannot be part of a path"})
	}
	if task.Holds() && (len(task.Env) > 0 || task.EnvClear) {
		c.tree.warnings = append(c.tree.warnings, Problem{task.Pos, path, "env has no effect without run"})
	}
}

func (c *checker) unused() {
	for _, f := range c.tree.Files {
		if len(f.Uses) == 0 && f.Spec != nil && c.files[f.Name] == f {
			c.tree.warnings = append(c.tree.warnings, Problem{f.Pos, "files." + f.Name, fmt.Sprintf("open file %q is used by no task and will not be made", f.Name)})
		}
	}
}

func firstOf(texts []Text) Text {
	if len(texts) == 0 {
		return Text{}
	}
	return texts[0]
}

// badName says what is wrong with a name of a task or an open file, or "".
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
			return "is not a name: want letters, digits, _ and -, the first one no -"
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
