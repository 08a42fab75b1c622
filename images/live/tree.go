package live

import (
	"fmt"
	"strconv"
	"strings"

	"regrow/internal/proc"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// tree makes the model of what was read.
func (l *look) tree() {
	s := l.seen
	tree := &tasktree.Tree{Source: fmt.Sprintf("process %d", s.procs[0].PID)}
	s.Tree = tree
	for _, n := range tasktree.Namespaces {
		if l.hasNamespace(s.procs[0], string(n)) {
			tree.Namespaces = append(tree.Namespaces, tasktree.NamespaceItem{Name: n})
		}
	}
	l.files(tree)
	names := names{}
	for i, p := range s.procs {
		held, holds := "", false
		if !p.Ended() {
			held, holds = p.held()
		}
		t := &tasktree.Task{Index: i}
		if holds {
			t.Name = names.unique(held)
		} else {
			t.Name = names.unique(p.Name)
			for _, a := range p.args {
				t.Run = append(t.Run, tasktree.Text{Value: a, Set: true})
			}
		}
		p.task = t
		if p.parent != nil {
			t.Parent = p.parent.task
			t.Parent.Children = append(t.Parent.Children, t)
		} else {
			tree.Root = t
		}
		if tree.HasNamespace(tasktree.NamespacePID) && len(p.pids) > 1 {
			t.PID.Value = int64(p.pids[1])
		} else {
			t.PID.Value = int64(p.PID)
		}
		t.Cwd, t.Attributes = tasktree.Text{Value: p.cwd}, p.attrs
		for _, v := range p.env {
			name, value, _ := strings.Cut(v, "=")
			t.Env = append(t.Env, tasktree.EnvVar{Name: name, Value: value})
		}
		switch {
		case p.table == nil || p.table.err != nil:
		case p.table.owner != p:
			t.SharesFiles.Value = p.table.owner.task.Name
		default:
			for _, d := range p.table.fds {
				t.FDs = append(t.FDs, tasktree.Descriptor{
					FD: d.fd, Cloexec: d.cloexec, File: tasktree.Text{Value: d.class.entry.file.EndName(d.class.end)},
				})
			}
		}
		s.Processes = append(s.Processes, Process{PID: p.PID, Comm: p.Name, Args: p.args, Ended: p.Ended()})
	}
	_ = tree.Check() // resolves names; a live tree may break rules of what can be restored
}

// hasNamespace reports whether a process is in another namespace of that kind than this
// one.
func (l *look) hasNamespace(p *process, of string) bool {
	theirs, err := proc.Namespace(p.PID, of)
	if err != nil {
		if of == string(tasktree.NamespacePID) && len(p.pids) > 0 {
			return len(p.pids) > 1
		}
		if !gone(err) && !p.Ended() {
			l.unseen(p, -1, "namespaces", "%v", err)
		}
		return false
	}
	ours, err := proc.Namespace(proc.Caller, of)
	return err == nil && ours != theirs
}

// files names the open files.
func (l *look) files(tree *tasktree.Tree) {
	names := names{}
	for _, e := range l.seen.entries {
		hint := "file"
		if e.known != nil {
			hint = e.known.Hint()
		} else if word, _, ok := strings.Cut(e.first().link, ":"); ok {
			hint = word
		}
		spec := e.spec
		if e.main != nil {
			again := &kind.Reopen{File: tasktree.Text{Value: e.main.file.EndName(e.main.first().end), Set: true}}
			again.Read(&entryLive{l, e})
			hint, spec = again.Hint(), again
		}
		e.file = &tasktree.OpenFile{Name: names.unique(hint), Spec: spec, Index: len(tree.Files)}
		if in, ok := e.spec.(*kind.Inherit); ok {
			in.Key.Value = e.file.Name
		}
		tree.Files = append(tree.Files, e.file)
	}
	for _, e := range l.seen.entries {
		for _, ref := range schema.References(e.spec) {
			if at, err := strconv.Atoi(strings.TrimPrefix(ref.Name.Value, "#")); err == nil && at < len(l.tokens) {
				ref.Name.Value = l.tokens[at].name()
			}
		}
	}
}

// name gives the name of an open file in the tree that was read.
func (c *class) name() string { return c.entry.file.EndName(c.end) }

// names are those that are taken, with the number of the last one that began so.
type names map[string]int

// unique makes a name that no other one has, out of any text.
func (n names) unique(hint string) string {
	const longest = 64 // bytes
	word := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}
	base := strings.Trim(strings.Map(word, hint), "-")
	base = base[:min(len(base), longest)]
	if base == "" {
		base = "unnamed"
	}
	name := base
	for n[name] > 0 {
		n[base]++
		name = base + "-" + strconv.Itoa(n[base])
	}
	n[name] = 1
	return name
}
