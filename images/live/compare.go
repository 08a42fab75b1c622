package live

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"regrow/images"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// Wants gives the [Options.Wants] of a look that is to be compared with a description
// at a level: what the description says, and what is the default otherwise.
func Wants(tree *tasktree.Tree, level Level) func(of, key string) bool {
	wanted := map[string]bool{}
	add := func(of string, data schema.Fielder) {
		for _, key := range schema.Said(data) {
			wanted[of+"."+key] = true
			wanted[of+"."+topKey(key)] = true
		}
	}
	for _, f := range tree.Files {
		if r, ok := tasktree.Described(f.Spec).(kind.Readable); ok {
			add(f.Spec.Kind(), r.Made(tree))
		}
	}
	for _, t := range tree.Tasks() {
		if t.Cwd.Said() {
			wanted[ofTask+".cwd"] = true
		}
		if len(t.Env) > 0 || t.EnvClear {
			wanted[ofTask+".env"] = level == Exact
		}
		for _, a := range t.Attributes {
			wanted[ofTask+"."+a.Key()] = true
		}
	}
	return func(of, key string) bool { return level != Shape && wanted[of+"."+key] }
}

// topKey gives the key of the data itself in which a key is: "content" of "content.4096".
func topKey(key string) string {
	if i := strings.IndexAny(key, ".["); i >= 0 {
		return key[:i]
	}
	return key
}

// looksToCompare is how often a tree is looked at, at most.
const looksToCompare = 3

// Verify looks at the tree of a process and says how it differs from its description,
// which has passed [tasktree.Tree.Check]. A tree may change while it is looked at: what
// is a difference was one in two looks. own are descriptors of this process by the keys of
// inherits ([Options].Own), by those too that [tasktree.Tree.Replace] has put into the tree.
//
// The error says that /proc cannot be used at all, or that one of own is not open. That the process is not there is a
// difference, that it is hidden is not visible.
func Verify(tree *tasktree.Tree, pid int, level Level, own map[string]int) (*Verdict, error) {
	v, err := verify(tree, pid, level, own)
	for i := 1; i < looksToCompare && err == nil && len(v.Differences) > 0; i++ {
		before := map[place]bool{}
		for _, f := range v.Differences {
			before[f.place()] = true
		}
		n := len(before)
		if v, err = verify(tree, pid, level, own); err != nil {
			return nil, err
		}
		v.Differences = slices.DeleteFunc(v.Differences, func(f Finding) bool { return !before[f.place()] })
		if len(v.Differences) >= n {
			break
		}
	}
	return v, err
}

// place is what a difference is about, whatever the difference is.
type place struct {
	pos        tasktree.Pos
	task, file string
	fd         int
	key        string
}

func (f Finding) place() place { return place{f.Pos, f.Task, f.File, f.FD, f.Key} }

// verify does it with one look.
func verify(tree *tasktree.Tree, pid int, level Level, own map[string]int) (*Verdict, error) {
	seen, err := Look(pid, Options{Wants: Wants(tree, level), Own: own})
	root := Finding{Pos: tree.Root.Pos, Task: tree.Root.Name, PID: pid, FD: -1}
	switch {
	case errors.Is(err, os.ErrPermission):
		root.Why = err.Error()
		return &Verdict{Level: level, Unseen: []Finding{root}}, nil
	case errors.Is(err, ErrGone):
		root.Described, root.Real = "the root", "no such process"
		return &Verdict{Level: level, Differences: []Finding{root}}, nil
	case err != nil:
		return nil, err
	}
	return Compare(tree, seen, level), nil
}

// Compare says how a live tree differs from its description, which has passed
// [tasktree.Tree.Check]. Of an inherit any open file is right, unless [Options].Own had
// its key: then it must be that one.
func Compare(tree *tasktree.Tree, seen *Seen, level Level) *Verdict {
	c := &comparison{
		tree: tree, seen: seen, level: level, verdict: &Verdict{Level: level},
		first: map[end]use{}, uses: map[*class]use{}, blind: map[end]bool{},
		entries: map[*tasktree.OpenFile]*entry{}, files: map[*entry]*tasktree.OpenFile{}, inodes: map[*tasktree.OpenFile]inode{},
		turned:  turned{},
		sharers: map[*tasktree.Task]*tasktree.Task{}, compared: map[tablePair]bool{}, lost: map[int][]Unseen{},
	}
	c.matching = match(tree, seen, &c.paths)
	for _, u := range seen.Unseen {
		c.lost[u.PID] = append(c.lost[u.PID], u)
	}
	for _, t := range tree.Tasks() {
		p := c.process[t]
		if p == nil {
			c.lacks(t)
			continue
		}
		if t.Holds() && !p.Ended() && c.sharers[t.Table()] == nil {
			c.sharers[t.Table()] = t
		}
	}
	for _, t := range tree.Tasks() {
		if !t.Holds() {
			c.verdict.Programs++
		}
		if p := c.process[t]; p != nil {
			c.compareTask(t, p)
		}
	}
	c.extraTasks()
	c.sharing()
	for _, f := range tree.Files {
		c.file(f)
	}
	c.verdict.Differences = sortFindings(c.verdict.Differences)
	c.verdict.Unseen = sortFindings(c.verdict.Unseen)
	return c.verdict
}

// comparison is one under way.
type comparison struct {
	matching

	tree    *tasktree.Tree
	seen    *Seen
	level   Level
	verdict *Verdict
	paths   resolver

	first map[end]use    // where each described open file was met first
	uses  map[*class]use // where each live one was
	blind map[end]bool   // it was said that nobody can tell what shares it

	entries map[*tasktree.OpenFile]*entry
	files   map[*entry]*tasktree.OpenFile
	turned  turned
	inodes  map[*tasktree.OpenFile]inode // of described files, but those that are opened again

	reopened map[*tasktree.OpenFile][]*tasktree.OpenFile // see sameFile; nil: not yet asked for

	sharers map[*tasktree.Task]*tasktree.Task // by owner: the first that has the table and keeps it

	compared map[tablePair]bool // tables of tasks that hold
	lost     map[int][]Unseen   // by process
}

// end is an open file of the description.
type end struct {
	file *tasktree.OpenFile
	end  int
}

func (e end) name() string { return e.file.EndName(e.end) }

// use is a descriptor of the description that is there.
type use struct {
	task    *tasktree.Task
	process *process
	d       *tasktree.Descriptor
	class   *class
}

func (u use) String() string { return fmt.Sprintf("fd %d of task %q", u.d.FD, u.task.Name) }

func (c *comparison) differs(f Finding, described, really string) {
	f.Described, f.Real = described, really
	c.verdict.Differences = append(c.verdict.Differences, f)
}

func (c *comparison) unseen(f Finding, format string, args ...any) {
	f.Why = fmt.Sprintf(format, args...)
	c.verdict.Unseen = append(c.verdict.Unseen, f)
}

func (c *comparison) about(t *tasktree.Task, pos tasktree.Pos, key string) Finding {
	f := Finding{Pos: pos, Task: t.Name, FD: -1, Key: key}
	if !pos.IsValid() {
		f.Pos = t.Pos
	}
	if p := c.process[t]; p != nil {
		f.PID = p.PID
	}
	return f
}

// lacks says that a task is not there, unless it may be one that is hidden.
func (c *comparison) lacks(t *tasktree.Task) {
	parent := c.process[t.Parent]
	if parent == nil {
		return // said of the parent
	}
	f := c.about(t, t.Pos, "")
	for _, u := range c.lost[parent.PID] {
		if u.Key == "children" {
			c.unseen(f, "%s", u.Why)
			return
		}
	}
	c.differs(f, "a child of "+taskName(t.Parent, parent), "no such child")
}

func taskName(t *tasktree.Task, p *process) string {
	return fmt.Sprintf("task %q (pid %d)", t.Name, p.PID)
}

// extraTasks says which processes nobody has described. What programs have started is
// theirs.
func (c *comparison) extraTasks() {
	for _, p := range c.seen.procs {
		if c.task[p] != nil || p.parent == nil {
			continue
		}
		parent := c.task[p.parent]
		switch {
		case parent == nil: // said of its parent
		case !parent.Holds() && c.level != Exact:
			c.verdict.More.Tasks++
		default:
			what := fmt.Sprintf("%q (pid %d)", p.Name, p.PID)
			if p.Ended() {
				what += ", which has ended and was not waited for"
			}
			c.differs(c.about(parent, parent.Pos, "children"), "no further child", what)
		}
	}
}

// compareTask compares one task.
func (c *comparison) compareTask(t *tasktree.Task, p *process) {
	if p.Ended() {
		f := c.about(t, t.Pos, "")
		c.differs(f, map[bool]string{true: "a task that holds", false: "a task that runs a program"}[t.Holds()], "it has ended, and nobody has waited for it")
		return
	}
	c.attributes(t, p)
	c.shares(t, p)
	c.descriptors(t, p)
}

// attributes compares what a task says of itself.
func (c *comparison) attributes(t *tasktree.Task, p *process) {
	if c.level == Shape {
		return
	}
	if t.Parent == nil {
		c.namespaces(t, p)
	}
	want, got := *t, tasktree.Task{}
	want.FDs, want.Children, want.SharesFiles, want.Cloexec = nil, nil, tasktree.Text{}, tasktree.Cloexec{}
	want.Attributes, got.Attributes = c.readAttributes(t, p)
	got.PID.Value = int64(p.inner(c.tree))
	if t.Holds() {
		got.Name = strings.Join(p.args, " ")
		if got.Name == t.Name {
			got.Name = p.Name + t.Name[len(comm(t.Name)):]
		}
	} else {
		want.Name = ""
		for _, a := range argumentsOf(t, p) {
			got.Run = append(got.Run, tasktree.Text{Value: a, Set: true})
		}
		c.environment(t, p, &want, &got)
	}
	got.Cwd.Value = p.cwd
	for _, d := range schema.Compare(images.TaskFields(&want), images.TaskFields(&got)) {
		key := d.Path
		switch {
		case d.Moves && c.level != Exact:
			continue
		case key == "cwd":
			same, why := c.paths.leads(c.tree.Join(t.Cwd.Value), p.cwd)
			if same {
				continue
			}
			if why != "" {
				c.unseen(c.about(t, d.Pos, key), "%s", why)
				continue
			}
		}
		c.differs(c.about(t, d.Pos, key), orNothing(d.First), orNothing(d.Then))
	}
	for _, u := range c.lost[p.PID] {
		asked := map[string]bool{"cwd": t.Cwd.Said(), "env": (len(t.Env) > 0 || t.EnvClear) && c.level == Exact, "pid": t.PID.Said()}
		if asked[u.Key] {
			c.unseen(c.about(t, map[string]tasktree.Pos{"cwd": t.Cwd.Pos, "pid": t.PID.Pos}[u.Key], u.Key), "%s", u.Why)
		}
	}
}

// readAttributes gives those that are described and were read, and what was read of them.
// Of one that was not, it is said that it is not visible.
func (c *comparison) readAttributes(t *tasktree.Task, p *process) (want, got []tasktree.Attribute) {
	for _, a := range t.Attributes {
		i := slices.IndexFunc(p.attrs, func(b tasktree.Attribute) bool { return b.Key() == a.Key() })
		if i >= 0 {
			want, got = append(want, a), append(got, p.attrs[i])
			continue
		}
		why := "a live task does not show it"
		for _, u := range c.lost[p.PID] {
			if u.Key == a.Key() {
				why = u.Why
			}
		}
		if c.level != Shape {
			c.unseen(c.about(t, schema.Place(a), a.Key()), "%s", why)
		}
	}
	return want, got
}

// orNothing is what a difference says of a value that is not there.
func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// environment takes the variables that are to be compared: those that are described,
// or, where all others are to be cleared, all.
func (c *comparison) environment(t *tasktree.Task, p *process, want, got *tasktree.Task) {
	if p.env == nil && !t.EnvClear {
		want.Env = nil // not read
		return
	}
	described := map[string]bool{}
	for _, v := range t.Env {
		described[v.Name] = true
	}
	for _, v := range p.env {
		if name, value, _ := strings.Cut(v, "="); described[name] || t.EnvClear {
			got.Env = append(got.Env, tasktree.EnvVar{Name: name, Value: value})
		}
	}
}

// namespaces compares those of the root with the caller's.
func (c *comparison) namespaces(t *tasktree.Task, p *process) {
	for _, u := range c.lost[p.PID] {
		if u.Key == "namespaces" {
			c.unseen(c.about(t, t.Pos, "namespaces"), "%s", u.Why)
			return
		}
	}
	said := map[bool]string{true: "a namespace of its own", false: "that of this process"}
	for _, n := range tasktree.Namespaces {
		want, got := c.tree.HasNamespace(n), c.seen.Tree.HasNamespace(n)
		if want != got {
			c.differs(c.about(t, c.tree.NamespacePos(n), "namespaces: "+string(n)), said[want], said[got])
		}
	}
}

// shares compares whose descriptor table a task has. A program begins with one of its
// own.
func (c *comparison) shares(t *tasktree.Task, p *process) {
	if c.level == Shape || p.table == nil || p.table.err != nil {
		return
	}
	if t.Owner != nil && t.Holds() {
		f := c.about(t, t.SharesFiles.Pos, "shares.files")
		if other := c.sharers[t.Table()]; other != t && c.process[other].table != p.table {
			switch table := c.process[other].table; {
			case table != nil && p.table.key == table.key && (p.table.blind != nil || table.blind != nil):
				c.unseen(f, "%v", firstError(p.table.blind, table.blind))
			default:
				c.differs(f, fmt.Sprintf("the descriptor table of task %q", other.Name), "another one")
			}
		}
	}
	if owner := c.task[p.table.owner]; p.table.owner != p && (owner == nil || owner.Table() != t.Table() || !t.Holds() || !owner.Holds()) {
		c.differs(c.about(t, t.SharesFiles.Pos, "shares.files"), "a descriptor table of its own",
			fmt.Sprintf("that of %q (pid %d)", p.table.owner.Name, p.table.owner.PID))
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
