package live

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// tablePair is a live table, and the owner of the one that it is described by.
type tablePair struct {
	live  *table
	owner *tasktree.Task
}

// descriptors compares the table of a task.
func (c *comparison) descriptors(t *tasktree.Task, p *process) {
	if p.table == nil || p.table.err != nil {
		if p.table != nil && !gone(p.table.err) {
			c.unseen(c.about(t, t.Pos, "fds"), "%v", p.table.err)
		}
		return
	}
	if pair := (tablePair{p.table, t.Table()}); t.Holds() {
		if c.compared[pair] {
			return // said of another task that has it
		}
		c.compared[pair] = true
	}
	wanted := map[int]bool{}
	fds := t.Table().FDs
	for i := range fds {
		d := &fds[i]
		if d.Cloexec && !t.Holds() {
			continue // exec has closed it
		}
		wanted[d.FD] = true
		c.descriptor(t, p, d)
	}
	for i := range p.table.fds {
		d := &p.table.fds[i]
		if wanted[d.fd] {
			continue
		}
		if !t.Holds() && c.level != Exact {
			c.verdict.More.FDs++
			continue
		}
		f := c.about(t, t.Pos, "")
		f.FD = d.fd
		c.differs(f, "nothing", d.class.String())
	}
}

// descriptor compares one that is described.
func (c *comparison) descriptor(t *tasktree.Task, p *process, d *tasktree.Descriptor) {
	e := end{d.Open, d.End}
	f := c.about(t, d.Pos, "")
	f.FD, f.File = d.FD, e.name()
	live := p.table.find(d.FD)
	if live == nil {
		c.differs(f, "open", "the number is closed")
		return
	}
	if d.Cloexec != live.cloexec {
		f.Key = "cloexec"
		c.differs(f, fmt.Sprint(d.Cloexec), fmt.Sprint(live.cloexec))
	}
	u := use{t, p, d, live.class}
	first, met := c.first[e]
	before, taken := c.uses[u.class]
	if !met {
		c.first[e] = u
	}
	if !taken {
		c.uses[u.class] = u
	}
	f.Key = "sharing"
	switch {
	case met && first.class != u.class:
		c.differs(f, "the open file of "+first.String(), "another one: "+u.class.String())
	case !met && c.lent(u, e, f):
	case !met && !taken, taken && isLent(end{before.d.Open, before.d.End}) && isLent(e):
	case u.class.blind != nil:
		if !c.blind[e] {
			c.blind[e] = true
			c.unseen(f, "whether it is the open file of %s: %v", before, u.class.blind)
		}
	case !met:
		c.differs(f, "another open file than "+before.String(), "the same one: "+u.class.String())
	}
}

// callerKey gives the key of the caller's descriptor that an open file of the description
// is, "" for one that is made.
func callerKey(e end) string {
	if keys, _ := tasktree.GivenEnds(e.file.Spec); keys != nil {
		return keys[e.end]
	}
	if in, ok := e.file.Spec.(*kind.Inherit); ok {
		return in.Key.Value
	}
	return ""
}

func isLent(e end) bool { return callerKey(e) != "" }

// lent compares an open file that is to be one of this process's with that. It reports
// whether there was something to say.
func (c *comparison) lent(u use, e end, f Finding) bool {
	key := callerKey(e)
	fd, known := c.seen.own[key]
	switch f.Key = "sharing"; {
	case key == "" || !known || slices.Contains(u.class.own, key):
		return false
	case u.class.blind != nil:
		c.unseen(f, "whether it is the caller's descriptor %d: %v", fd, u.class.blind)
	default:
		c.differs(f, fmt.Sprintf("the caller's descriptor %d", fd), "another open file: "+u.class.String())
	}
	return true
}

// String names a live open file.
func (c *class) String() string {
	if c.err != nil {
		return "an open file that is not visible"
	}
	if c.entry.known != nil {
		if ends := c.entry.spec.Ends(); len(ends) > 0 {
			return fmt.Sprintf("%s (end %s)", c.link, ends[c.end])
		}
	}
	return c.link
}

// sharing compares which open files belong together: the ends of a pipe.
func (c *comparison) sharing() {
	first := func(f *tasktree.OpenFile) int { // those that are opened again come behind the others
		if _, again := f.Spec.(*kind.Reopen); again {
			return 1
		}
		return 0
	}
	files := slices.SortedStableFunc(slices.Values(c.tree.Files), func(a, b *tasktree.OpenFile) int { return first(a) - first(b) })
	for _, f := range files {
		for i := range max(1, len(f.Spec.Ends())) {
			u, met := c.first[end{f, i}]
			if !met || isLent(end{f, i}) || !c.is(u, f, i) || u.class.err != nil || u.class.entry.known == nil {
				continue
			}
			e := u.class.entry.root()
			at := c.about(u.task, u.d.Pos, "")
			at.FD, at.File = u.d.FD, f.EndName(i)
			switch other := c.entries[f]; {
			case other == nil:
				c.entries[f] = e
				if t, ok := e.known.(kind.Turning); ok && u.class.end != i && t.Turn() {
					c.turned[f] = true
					e.turnUnseen(f.Spec.Ends())
				}
			case other != e && other.kind == e.kind && !sameInode(other, e):
				c.differs(at, "the other end of "+other.first().link, u.class.String())
			}
			if base := c.base(f); base != f {
				if again, ok := f.Spec.(*kind.Reopen); ok && again.File.Pos.IsValid() {
					at.Pos = again.File.Pos
				}
				c.again(base, u.class, at)
				continue
			}
			c.inodes[f] = u.class.inode()
			if other := c.files[e]; other != nil && other != f && kind.Anonymous(f.Spec) {
				c.differs(at, fmt.Sprintf("another one than file %q", other.Name), "the same one: "+u.class.String())
			}
			c.files[e] = f
		}
	}
}

// again compares whose file an open file is that was opened again.
func (c *comparison) again(base *tasktree.OpenFile, live *class, at Finding) {
	if live.entry.kind != base.Spec.Kind() {
		return // said with the file
	}
	at.Key = "file"
	is, known := c.inodes[base]
	switch other := c.files[live.entry.root()]; {
	case other != nil && other != base && kind.Anonymous(base.Spec):
		c.differs(at, fmt.Sprintf("another open file of %q", base.Name), fmt.Sprintf("one of %q: %s", other.Name, live))
	case known && is != live.inode():
		c.differs(at, fmt.Sprintf("another open file of %q", base.Name), live.String())
	case !known: // no task has it: all that are opened again are one file
		c.inodes[base] = live.inode()
	}
}

// is reports whether a live open file was first met as this one of the description. If
// not, that was said of the descriptor.
func (c *comparison) is(u use, f *tasktree.OpenFile, end int) bool {
	first := c.uses[u.class].d
	return first.Open == f && first.End == end
}

// file compares an open file, once, with the descriptor that was met first.
func (c *comparison) file(f *tasktree.OpenFile) {
	r, ok := tasktree.Described(f.Spec).(kind.Readable)
	if !ok {
		return
	}
	wise, endWise := r.(kind.EndWise)
	var e *entry
	var ends []*class
	var at Finding
	for i := range max(1, len(f.Spec.Ends())) {
		u, met := c.first[end{f, i}]
		if !met || isLent(end{f, i}) {
			continue
		}
		here := c.about(u.task, u.d.Pos, "")
		here.FD, here.File = u.d.FD, f.EndName(i)
		switch {
		case !c.is(u, f, i):
			continue
		case u.class.err != nil && gone(u.class.err):
			c.differs(here, "open", "it was closed while it was looked at")
			continue
		case u.class.err != nil:
			c.unseen(here, "%v", u.class.err)
			continue
		case u.class.entry.kind != c.base(f).Spec.Kind(): // what is opened again is like the other one
			here.Key = "type"
			c.differs(here, c.base(f).Spec.Kind(), u.class.String())
			continue
		case !endWise && c.turned.liveEnd(f, i) != u.class.end && len(f.Spec.Ends()) > 0:
			c.differs(here, "the end "+f.Spec.Ends()[i], u.class.String())
			continue
		}
		if endWise {
			c.end(f, wise, i, u.class, here)
			continue
		}
		ends = append(ends, u.class)
		if e == nil {
			e, at = u.class.entry.root(), here
			at.File = f.Name
		}
	}
	if e == nil || c.level == Shape {
		return
	}
	c.values(f, r.Made(c.tree), e, ends, at)
}

// read gives what is compared with an open file whose ends these are. The entry of the
// file that was met first has most of it; but the flags and the offset of one that was
// opened again are its own.
func (c *comparison) read(f *tasktree.OpenFile, made tasktree.Spec, e *entry, ends []*class) (differences []schema.Difference, unseen []kind.Unseen) {
	k, _ := kind.Lookup(f.Spec.Kind())
	read := func(ends []*class) tasktree.Spec {
		spec := k.New()
		if r, ok := spec.(kind.Readable); ok {
			r.Read(&freeLive{ends})
		}
		return spec
	}
	if _, again := f.Spec.(*kind.Reopen); again {
		return schema.Compare(made, read(ends)), nil
	}
	all := slices.DeleteFunc(slices.Clone(e.ends), func(c *class) bool { return c == nil })
	if _, joined := e.known.(kind.Joined); joined || slices.Equal(ends, all) || !kind.Anonymous(f.Spec) {
		return schema.Compare(made, e.spec), e.unseen
	}
	free := read(ends)
	said, others := schema.Said(free), schema.Said(read(all))
	for _, d := range schema.Compare(made, e.spec) {
		if !slices.Contains(others, d.Path) {
			differences = append(differences, d)
		}
	}
	for _, d := range schema.Compare(made, free) {
		if slices.Contains(said, d.Path) {
			differences = append(differences, d)
		}
	}
	return differences, e.unseen
}

// freeLive shows a kind what costs nothing of some ends.
type freeLive struct{ ends []*class }

// Ends implements [kind.Live].
func (v *freeLive) Ends() (ends []kind.LiveEnd) {
	for _, c := range v.ends {
		ends = append(ends, liveEnd{&look{}, c})
	}
	return ends
}

// Wants implements [kind.Live].
func (*freeLive) Wants(string) bool { return false }

// end compares an open file of a kind with any number of them.
func (c *comparison) end(f *tasktree.OpenFile, ends kind.EndWise, i int, live *class, at Finding) {
	if c.level == Shape {
		return
	}
	whole, of := i == c.wholeEnd(f, ends), *live.entry
	if own, ok := of.spec.(kind.EndWise); ok && !whole {
		of.spec = own.OfEnd()
	}
	c.values(f, ends.MadeEnd(c.tree, i, whole), &of, []*class{live}, at)
}

// wholeEnd is the end by which what all ends have in common is compared: one that can be
// read from, if there is one.
func (c *comparison) wholeEnd(f *tasktree.OpenFile, ends kind.EndWise) int {
	first := -1
	for i := range f.Spec.Ends() {
		if u, met := c.first[end{f, i}]; !met || isLent(end{f, i}) || !c.is(u, f, i) {
			continue
		}
		if reads, _ := ends.Access(i); reads {
			return i
		}
		if first < 0 {
			first = i
		}
	}
	return first
}

// sameInode reports whether two entries are open files of one inode.
func sameInode(a, b *entry) bool {
	x, y := &a.first().stat, &b.first().stat
	return x.Ino == y.Ino && x.Mnt_id == y.Mnt_id
}

// turnUnseen swaps the ends in what was not seen.
func (e *entry) turnUnseen(ends []string) {
	for i, u := range e.unseen {
		for end := range ends {
			if key, ok := strings.CutSuffix(u.Key, "."+ends[end]); ok {
				e.unseen[i].Key = key + "." + ends[1-end]
			}
		}
	}
}

// values compares the keys of an open file.
func (c *comparison) values(f *tasktree.OpenFile, made tasktree.Spec, e *entry, ends []*class, at Finding) {
	moves := c.level == Exact || c.level == Auto && c.rests(f, e, ends)
	said, keys, moving := schema.Said(made), schema.Compared(made), schema.Moving(made)
	if s, ok := e.known.(kind.Settling); ok {
		s.Settle(made)
	}
	in := inLive{c}
	described := in.asLive(made)
	differences, unseen := c.read(f, made, e, ends)
	lacks := func(path string) bool { return c.turned.lacks(f, e, path) }
	lost := func(path string) bool {
		return lacks(path) || slices.ContainsFunc(unseen, func(u kind.Unseen) bool { return isBelow(path, u.Key) })
	}
	for _, d := range differences {
		if d.Moves && !moves || lost(d.Path) { // nothing of a list was read: see below
			continue
		}
		here := at
		here.Key, here.Pos = d.Path, d.Pos
		if !d.Pos.IsValid() {
			here.Pos = f.Pos
		}
		if d.Path == "path" {
			same, why := c.paths.leads(made.Traits(c.tree).Path, e.spec.Traits(c.tree).Path)
			if same {
				continue
			}
			if why != "" {
				c.unseen(here, "%s", why)
				continue
			}
		}
		if name, ok := described[d.Path]; ok {
			d.First, d.Then = strconv.Quote(name), in.asDescribed(d.Then)
		}
		c.differs(here, cmp.Or(d.First, "nothing"), cmp.Or(d.Then, "nothing"))
	}
	for _, path := range said {
		if head, _, inList := strings.Cut(path, "["); inList && lacks(path) && moves {
			here := at
			here.Key, here.Pos, here.Always = head, f.Pos, true
			c.unseen(here, "no task has this end")
		}
	}
	_, joined := e.known.(kind.Joined)
	for _, u := range unseen {
		below := func(path string) bool { return isBelow(path, u.Key) }
		if !slices.ContainsFunc(said, below) && (joined || slices.ContainsFunc(keys, below)) { // but for lists: that there is nothing is not said
			continue
		}
		if moves || !slices.ContainsFunc(moving, below) {
			here := at
			here.Key, here.Pos, here.Always = u.Key, f.Pos, u.Always
			c.unseen(here, "%s", u.Why)
		}
	}
}

// sameFile gives a described open file with all others that open its file again.
func (c *comparison) sameFile(f *tasktree.OpenFile) []*tasktree.OpenFile {
	if c.reopened == nil {
		c.reopened = map[*tasktree.OpenFile][]*tasktree.OpenFile{}
		for _, g := range c.tree.Files {
			if base := c.base(g); base != g {
				c.reopened[base] = append(c.reopened[base], g)
			}
		}
	}
	base := c.base(f)
	return append([]*tasktree.OpenFile{base}, c.reopened[base]...)
}

// base gives the open file whose file another one opens again, or the file itself.
func (c *comparison) base(f *tasktree.OpenFile) *tasktree.OpenFile {
	if again, ok := f.Spec.(*kind.Reopen); ok {
		if base := again.Base(c.tree); base != nil {
			return base
		}
	}
	return f
}

// rests reports whether only tasks that hold have an open file, so that nobody has
// changed it.
func (c *comparison) rests(f *tasktree.OpenFile, e *entry, ends []*class) bool {
	for _, g := range c.sameFile(f) {
		for _, u := range g.Uses {
			if !u.Task.Holds() {
				return false
			}
		}
	}
	for _, class := range append(slices.Clone(ends), e.ends...) {
		if class == nil {
			continue
		}
		for _, h := range class.holders {
			for _, p := range append([]*process{h.table.owner}, h.table.sharers...) {
				if t := c.task[p]; t == nil || !t.Holds() {
					return false
				}
			}
		}
	}
	return true
}
