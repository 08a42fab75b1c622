package images

import (
	"math"
	"strconv"

	"regrow/tasktree"
	_ "regrow/tasktree/attr" // its attributes
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// document is a whole description. Its Fields is where the keys of a description begin.
type document struct {
	version    schema.Number
	namespaces []schema.Text
	files      []*tasktree.OpenFile
	roots      []*tasktree.Task
	scenario   tasktree.Scenario
}

// Fields implements [schema.Fielder].
func (d *document) Fields(f schema.Fields) {
	f.Int("version", &d.version, schema.Int{Hi: math.MaxInt32, Help: schema.Help{
		Required: true, Want: strconv.Itoa(tasktree.Version), Doc: "`1`",
	}})
	f.List("namespaces", schema.Texts(&d.namespaces), schema.Help{
		Want: "a list of namespaces, such as [pid]", Doc: "list of `pid` and `user`, in any order: new [namespaces](#namespaces) for the whole tree", Default: "none",
	})
	f.Map("files", (*files)(&d.files), schema.Help{
		Want: "a mapping from names to open files", Lines: true, Last: true, Doc: "mapping from names to [open files](#open-files)", Default: "none",
	})
	f.List("tasks", (*tasks)(&d.roots), schema.Help{
		Required: true, Lines: true, Last: true, Def: "task", Doc: "list with one [task](#tasks), the root",
		Want: "a list with one root task", Item: aTask, Empty: "a tree has one root task",
		Most: 1, More: "this is a second root task; a tree has one root, and all other tasks are below it",
	})
	fieldsOfScenario(&d.scenario, f)
}

// TreeFields returns a tree with all its keys, those of its open files and tasks included.
func TreeFields(t *tasktree.Tree) schema.Fielder { return documentOf(t) }

// tree sets the fields of t to what the document describes.
func (d *document) tree(t *tasktree.Tree) {
	for _, n := range d.namespaces {
		t.Namespaces = append(t.Namespaces, tasktree.NamespaceItem{Name: tasktree.Namespace(n.Value), Pos: n.Pos})
	}
	t.Files = d.files
	if len(d.roots) > 0 {
		t.Root = d.roots[0]
	}
	if len(d.scenario.Expect) > 0 || len(schema.Said((*caller)(&d.scenario.Caller))) > 0 {
		t.Scenario = &d.scenario
	}
}

// documentOf returns the document that describes a tree.
func documentOf(t *tasktree.Tree) *document {
	d := &document{version: schema.Number{Value: tasktree.Version}, files: t.Files}
	for _, n := range t.Namespaces {
		d.namespaces = append(d.namespaces, schema.Text{Value: string(n.Name), Pos: n.Pos})
	}
	if t.Root != nil {
		d.roots = []*tasktree.Task{t.Root}
	}
	if t.Scenario != nil {
		d.scenario = *t.Scenario
	}
	return d
}

// files is the mapping of open files.
type files []*tasktree.OpenFile

var _ schema.Splicer = (*files)(nil)

func (fs *files) Len() int         { return len(*fs) }
func (fs *files) Key(i int) string { return (*fs)[i].Name }
func (fs *files) Keys() string     { return "^[A-Za-z0-9_][A-Za-z0-9_-]*$" }

func (fs *files) Add(name schema.Text, _ func(string, ...any)) bool {
	*fs = append(*fs, &tasktree.OpenFile{Name: name.Value, Pos: name.Pos})
	return true
}

func (fs *files) Item(i int, f schema.Fields) {
	f.Choice("type", (*fileKind)((*fs)[i]), schema.Help{Want: "a kind of open file"})
}

func (fs *files) Splice(from any) {
	if more, ok := from.(*files); ok {
		*fs = append(*fs, *more...)
	}
}

// fileKind is an open file, whose type decides which keys it has.
type fileKind tasktree.OpenFile

func (*fileKind) Names() []string       { return kind.Names() }
func (*fileKind) Meant(w string) string { return kind.Meant(w) }

func (k *fileKind) Chosen() (string, schema.Fielder) {
	if k.Spec == nil {
		return "", nil
	}
	return k.Spec.Kind(), k.Spec
}

func (k *fileKind) Choose(name string) (schema.Fielder, bool) {
	known, ok := kind.Lookup(name)
	if !ok {
		return nil, false
	}
	k.Spec = known.New()
	return k.Spec, true
}

func (k *fileKind) Spoil() { k.Spec = brokenSpec{k.Spec} }

// brokenSpec is a Spec with values that did not decode. Its ends are known, so descriptors
// that refer to them are no further problems. Its rules are not applied, because they
// would only repeat what was reported.
type brokenSpec struct{ tasktree.Spec }

// Check implements [tasktree.Spec].
func (brokenSpec) Check(*tasktree.Tree, func(tasktree.Problem)) {}

const aTask = "a task (a mapping with name, fds and so on)"

// tasks is the list of root tasks, or of the children of a task.
type tasks []*tasktree.Task

var _ schema.Splicer = (*tasks)(nil)

func (ts *tasks) Len() int                    { return len(*ts) }
func (ts *tasks) Add()                        { *ts = append(*ts, &tasktree.Task{}) }
func (ts *tasks) Item(i int, f schema.Fields) { (*task)((*ts)[i]).Fields(f) }

func (ts *tasks) Splice(from any) {
	if more, ok := from.(*tasks); ok {
		*ts = append(*ts, *more...)
	}
}

// TaskFields returns a task with its keys, those of its descriptors and descendants
// included, for example to compare it.
func TaskFields(t *tasktree.Task) schema.Fielder { return (*task)(t) }

// task is a task with its keys.
type task tasktree.Task

// Fields implements [schema.Fielder].
func (t *task) Fields(f schema.Fields) {
	f.Place("", &t.Pos, &t.Alias)
	f.Place("name", &t.Pos, &t.Alias)
	name := schema.Text{Value: t.Name}
	f.Text("name", &name, schema.Help{
		Required: true, Want: "the task's name",
		Doc: "unique among tasks; a task without a program has it as its comm (the first 15 bytes) and as its argument list",
	})
	if name.Pos.IsValid() {
		t.Name = name.Value
	}
	f.Int("pid", &t.PID, schema.Int{Of: "a pid", Lo: 1, Hi: tasktree.MaxPID, Help: schema.Help{
		Doc:     "the exact pid; if the number is in use, the error names what uses it: a process (also one that has ended and was not waited for), a thread, or a session or process group whose leader is gone",
		Default: "the kernel's choice",
	}})
	fds := &table{Task: (*tasktree.Task)(t)}
	f.Map("fds", fds, schema.Help{
		Want: "a mapping from descriptors to open files, such as {1: log}",
		Doc:  "mapping from descriptors to files: `3: jobs.r`, or `9: {file: log, cloexec: true}`", Default: "none",
	})
	fds.noMapping(f)
	f.List("cloexec", cloexec{fds}, schema.Help{
		Word: "all", Want: "all, or a list of descriptors and ranges, such as [3, 4, 7-10]",
		Doc: "`all`, or a list such as `[3, 4, 7-10]`: these descriptors of `fds` are close-on-exec, in addition to those with `cloexec: true`. None of them may have `cloexec: false`", Default: "none",
	})
	fds.contradicts(f)
	f.List("children", (*tasks)(&t.Children), schema.Help{
		Want: "a list of tasks", Item: aTask, Def: "task", Lines: true, Last: true, Doc: "list of tasks", Default: "none",
	})
	f.Place("run", &t.RunPos, nil)
	f.List("run", (*program)(&t.Run), schema.Help{
		Want: "a list of the program and its arguments, such as [ls, -l]",
		Doc: "list: the program and its arguments. A name without a slash is looked up in the task's own PATH (without one, as after `env_clear`, in `/bin:/usr/bin`), " +
			"whose relative folders start at `cwd`; a relative path with a slash starts at the description's folder, as all [paths](#paths) do, and not at `cwd`",
		Default: "none: the task holds until it is killed",
		Moves:   true,
	})
	var shares schema.Pos
	f.Group("shares", &shares, func(f schema.Fields) {
		f.Ref("files", &t.SharesFiles, schema.ToTask, schema.Help{Required: true, Want: "the name of the task whose descriptor table this one shares"})
	}, schema.Help{
		Want: "a mapping of what the task shares, such as {files: TASK}",
		Doc:  "`{files: TASK}`: the task shares the descriptor table of TASK (`CLONE_FILES` of clone(2)), and has no `fds` and no `cloexec` of its own", Default: "a table of its own",
	})
	t.attributes(f)
}

// attributes binds the keys of all attributes, set or not.
func (t *task) attributes(f schema.Fields) {
	m, decodes := f.(*visit)
	for _, k := range tasktree.AttributeKinds() {
		a := (*tasktree.Task)(t).Attribute(k)
		if a != nil {
			a.Fields(f)
			continue
		}
		if decodes && !m.says(k.Keys) {
			m.d.keys = append(m.d.keys, k.Keys...)
			continue
		}
		a = k.New()
		a.Fields(f)
		if a.Said() {
			t.Attributes = append(t.Attributes, a)
		}
	}
}

// program is a program and its arguments.
type program []tasktree.Text

func (p *program) Len() int { return len(*p) }
func (p *program) Add()     { *p = append(*p, tasktree.Text{}) }

// Grow implements [schema.Grower]. It makes an empty list different from no list.
func (p *program) Grow(n int) { *p = make(program, 0, n) }

func (p *program) Item(i int, f schema.Fields) {
	if i == 0 {
		f.Text("", &(*p)[0], schema.Help{Want: "a program", Moves: true})
		return
	}
	f.Arg("", &(*p)[i], schema.Help{Want: `an argument ("" for an empty one)`, Moves: true})
}
