package tasktree

// Task is a process that is to be restored.
type Task struct {
	Name     string
	Pos      Pos
	Alias    Pos    // of an alias in whose place the task stands; not valid: it is where Pos says
	PID      Number // exact pid, in the tree's pid namespace if it has one; Value 0: the kernel chooses
	FDs      []Descriptor
	Children []*Task
	Run      []Text // program and arguments; empty: the task holds until it is killed
	RunPos   Pos
	Env      []EnvVar // added to the caller's environment, a later name replaces an earlier one
	EnvClear bool     // start from an empty environment
	Cwd      Text     // Value "": the caller's

	// Attributes are the others that the description says something of, each
	// kind once: see package attr.
	Attributes []Attribute

	// Cloexec says which of FDs are close-on-exec, beside those that say so
	// themselves.
	Cloexec Cloexec

	// SharesFiles names the task whose descriptor table this one has, too
	// (CLONE_FILES of clone(2)); it then has no FDs of its own. Value "": the
	// table is the task's own.
	SharesFiles Text

	// Set by Tree.Check.
	Index  int   // position in Tree.Tasks, 0 is the root
	Parent *Task // nil for the root
	Owner  *Task // the task that SharesFiles names, nil if it names none

	// Namespaces are the new ones that the task begins with, and its descendants live
	// in: the root has those of the tree.
	Namespaces []NamespaceItem

	// Carried is the owner of the shared table that the task must be forked
	// with, because it, or a task below, has a part in it and lies on the way to
	// the others; nil if the task starts with a copy.
	//
	// The kernel lets a new task share only the table of the one that makes it
	// (CLONE_FILES of clone(2)). So a table that a task shares with its
	// grandchild passes through the child in between, which leaves it again
	// (unshare(2)), and one of two siblings is their parent's until it leaves that.
	Carried *Task
}

// Holds reports whether the task holds: it runs no program and does nothing
// until it is killed.
func (t *Task) Holds() bool { return len(t.Run) == 0 }

// EnvVar is one variable of a task's environment.
type EnvVar struct {
	Name, Value string
	Pos         Pos
}

// Descriptor is one entry of a task's descriptor table.
type Descriptor struct {
	FD      int  // the number, 0 or greater
	File    Text // the open file's name, with ".END" where its kind has ends
	Cloexec bool // FD_CLOEXEC: belongs to the descriptor, not to the open file
	Pos     Pos

	// Set by Tree.Check.
	Open *OpenFile
	End  int // index into Open.Spec.Ends(), 0 for a kind without ends
}
