package tasktree

import (
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// OpenFile is an entry of the description's files: one open file description,
// or as many as its kind has ends (a pipe is two). Each is made exactly once,
// however many descriptors name it.
type OpenFile struct {
	Name string
	Pos  Pos
	Spec Spec

	// Set by Tree.Check.
	Index  int         // position in Tree.Files
	Uses   []Use       // every descriptor that names it, tasks in their order
	Refers []*OpenFile // the open files that its Spec names, each once

	// Needed: a task has it, or an open file that is needed names it. Others are
	// not made.
	Needed bool

	// Named: another open file that is needed names it.
	Named bool
}

// Use is one descriptor that names an open file.
type Use struct {
	Task *Task
	FD   int
	End  int
}

// EndName gives the name that a descriptor uses for one end: "jobs.w", or the
// plain name where the kind has no ends.
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

// Spec is what a description says about one open file: plain data of one kind,
// with the kind's rules and the recipe that makes it. Package tasktree/kind has
// one implementation a file.
type Spec interface {
	// Fields binds the keys of the kind, besides type.
	schema.Fielder

	// Kind gives the word that the description uses: "reg", "pipe".
	Kind() string

	// Ends names the open files that one entry makes: nil for one that goes by
	// the entry's own name, {"r", "w"} for a pipe.
	Ends() []string

	// Check reports what is wrong among the kind's own values. It has no other
	// effect. Path in what it reports is relative to the entry: "flags[1]".
	Check(t *Tree, report func(Problem))

	// Traits tells the planner what decides who makes the file, and when.
	Traits(t *Tree) Traits

	// Make writes the steps that make the open file to m, empty, and returns one
	// Ref an end, in the order of Ends.
	Make(t *Tree, m recipe.Maker) []recipe.Ref
}

// What a [Spec] may be besides. See package recipe for the phases.
type (
	// Ordered is one that is made out of other open files.
	Ordered interface {
		// Needs lists them by name, without their ends: they are made before.
		Needs() []string
	}

	// Related is one with rules about the open files that it names.
	Related interface {
		// Relate reports what is wrong with them, as Spec.Check does, once names
		// have been resolved: [Tree.FileNamed] gives them.
		Relate(t *Tree, report func(Problem))
	}

	// Filled is one that something waits in: it is written when all open files
	// of the runner's exist.
	Filled interface {
		// Fill writes the steps to m.
		Fill(t *Tree, m recipe.Maker)
	}

	// Shaped is one that gets its final form when all are filled.
	Shaped interface {
		// Shape writes the steps to m.
		Shape(t *Tree, m recipe.Maker)
	}

	// Wired is one for which the tasks that have it take steps of their own: locks that
	// belong to a task, the owner of signals.
	Wired interface {
		// Wire writes the steps of a task for one of its descriptors to w. It is called
		// for each descriptor that names the file, in the order of Uses.
		Wire(t *Tree, u Use, w recipe.Wirer)
	}

	// Needy is one for which the host must have something.
	Needy interface {
		// Host lists what that is.
		Host(t *Tree) []recipe.Need
	}

	// Taken is one that is not made but taken over: a descriptor of the caller's.
	Taken interface {
		// CallerKey gives the key by which the caller gives it.
		CallerKey() string
	}
)

// CallerKey gives the key by which the caller gives an open file, "" if it is
// made.
func CallerKey(s Spec) string {
	if taken, ok := s.(Taken); ok {
		return taken.CallerKey()
	}
	return ""
}

// Warner is a [Spec] that also knows of things that are allowed but likely not
// meant. They do not stop a restore.
type Warner interface {
	// Warn reports them. Path is relative to the entry, as in Spec.Check.
	Warn(t *Tree, report func(Problem))
}

// Traits are the properties of an open file that decide who makes it, and when.
// The zero value is a file that the task itself may make if nobody else uses
// it.
type Traits struct {
	// ByRunner: only the process that runs the restore can make it, because
	// it holds what is needed (a descriptor of the caller's), or must be able
	// to undo it (a file that is created) or to delay it (a file that is
	// truncated at the commit point).
	ByRunner bool

	// Path is the file-system path that is opened, "" if none. Files with one
	// path are made in the order of the description, by the runner if one of
	// them creates it.
	Path    string
	Creates bool

	// Writes: the open file can write to the file at Path. A program there cannot
	// be executed meanwhile (ETXTBSY).
	Writes bool
}
