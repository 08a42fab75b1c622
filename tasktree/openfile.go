package tasktree

import (
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// OpenFile is an entry of the description's files: one open file description, or one for
// each end of its kind (a pipe has two). Each is made exactly once, however many
// descriptors refer to it.
type OpenFile struct {
	Name string
	Pos  Pos
	Spec Spec

	// Set by Tree.Check.
	Index  int         // position in Tree.Files
	Uses   []Use       // all descriptors that refer to it, in the order of the tasks
	Refers []*OpenFile // the open files that its Spec refers to, each once

	// Needed: a task has it, or a needed open file refers to it. An open file that is
	// not needed is not made.
	Needed bool

	// Named: another open file that is needed, or an attribute of a task, refers to it.
	Named bool
}

// Use is one descriptor that refers to an open file.
type Use struct {
	Task *Task
	FD   int
	End  int
}

// EndName returns the name of one end as descriptors use it: "jobs.w", or the plain name
// if the kind has no ends.
func (f *OpenFile) EndName(end int) string {
	ends := f.Spec.Ends()
	if len(ends) == 0 {
		return f.Name
	}
	return f.Name + "." + ends[end]
}

// Shared reports whether several tasks use the open file.
func (f *OpenFile) Shared() bool {
	for _, u := range f.Uses[min(1, len(f.Uses)):] {
		if u.Task != f.Uses[0].Task {
			return true
		}
	}
	return false
}

// Spec is the description of one open file: plain data of one kind, with the kind's rules
// and the recipe that makes it. Package tasktree/kind has the implementations, one kind in
// each file.
type Spec interface {
	// Fields binds the keys of the kind, except type.
	schema.Fielder

	// Kind returns the kind's name in descriptions: "reg", "pipe".
	Kind() string

	// Ends returns the names of the open files that one entry makes: {"r", "w"} for a
	// pipe. nil means one open file with the name of the entry.
	Ends() []string

	// Check reports problems of the kind's own values. It has no other effect. The path
	// of a problem is relative to the entry: "flags[1]".
	Check(t *Tree, report func(Problem))

	// Traits returns the properties by which the planner decides who makes the file, and
	// when.
	Traits(t *Tree) Traits

	// Make writes the steps that make the open file, without content, to m. It returns
	// one Ref for each end, in the order of Ends.
	Make(t *Tree, m recipe.Maker) []recipe.Ref
}

// Optional interfaces of a [Spec]. See package recipe for the phases.
type (
	// Ordered is a Spec that is made from other open files.
	Ordered interface {
		// Needs returns the names of those files, without ends. They are made before it.
		Needs() []string
	}

	// Related is one with rules about the open files that it names.
	Related interface {
		// Relate reports what is wrong with them, as Spec.Check does, once names
		// have been resolved: [Tree.FileNamed] gives them.
		Relate(t *Tree, report func(Problem))
	}

	// Filled is a Spec with content, such as data in a pipe. It is filled when all open
	// files of the runner exist.
	Filled interface {
		// Fill writes the steps to m.
		Fill(t *Tree, m recipe.Maker)
	}

	// Shaped is a Spec that gets its final form when all open files are filled.
	Shaped interface {
		// Shape writes the steps to m.
		Shape(t *Tree, m recipe.Maker)
	}

	// Wired is a Spec that needs steps in the tasks that have it: locks that belong to a
	// task, the owner of signals.
	Wired interface {
		// Wire writes a task's steps for one of its descriptors to w. It is called for
		// each descriptor that refers to the file, in the order of Uses.
		Wire(t *Tree, u Use, w recipe.Wirer)
	}

	// Needy is a Spec that needs something of the host.
	Needy interface {
		// Host lists the needs.
		Host(t *Tree) []recipe.Need
	}

	// Taken is a Spec that is not made: it is a descriptor of the caller's.
	Taken interface {
		// CallerKey returns the key by which the caller passes it.
		CallerKey() string
	}
)

// CallerKey returns the key by which the caller passes an open file, "" if the file is
// made.
func CallerKey(s Spec) string {
	if taken, ok := s.(Taken); ok {
		return taken.CallerKey()
	}
	return ""
}

// Warner is a [Spec] that can warn: of values that are allowed but likely a mistake.
// Warnings do not stop a restore.
type Warner interface {
	// Warn reports the warnings. Paths are relative to the entry, as in Spec.Check.
	Warn(t *Tree, report func(Problem))
}

// Traits are the properties of an open file that decide who makes it, and when. The zero
// value is a file that a task may make itself if no other task uses it.
type Traits struct {
	// ByRunner: only the process that runs the restore can make the file. It has a
	// descriptor that is needed, or it must be able to undo the making (a file that is
	// created) or to delay it (a file that is truncated at the commit point).
	ByRunner bool

	// Path is the file-system path that is opened, "" if none. Files with the same path
	// are made in the order of the description, by the runner if one of them creates
	// the path.
	Path    string
	Creates bool

	// Writes: the open file can write to the file at Path. While it is open, the kernel
	// refuses to execute that file (ETXTBSY).
	Writes bool
}
