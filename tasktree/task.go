package tasktree

// Task is a process to restore.
type Task struct {
	Name     string
	Pos      Pos
	Alias    Pos    // of the alias by which the task is repeated; not valid: no alias
	PID      Number // exact pid, in the tree's pid namespace if it has one; Value 0: the kernel chooses
	FDs      []Descriptor
	Children []*Task
	Run      []Text // program and arguments; empty: the task holds until it is killed
	RunPos   Pos
	Env      []EnvVar // added to the caller's environment; a later entry replaces an earlier one of its name
	EnvClear bool     // start from an empty environment
	Cwd      Text     // Value "": the caller's

	// Attributes are the other attributes that the description sets, each kind once: see
	// package attr.
	Attributes []Attribute

	// Cloexec lists close-on-exec descriptors of FDs, in addition to those whose Cloexec
	// is set.
	Cloexec Cloexec

	// SharesFiles is the name of the task whose descriptor table this one shares
	// (CLONE_FILES of clone(2)). The task then has no FDs of its own. Value "": the task
	// has a table of its own.
	SharesFiles Text

	// Set by Tree.Check.
	Index  int   // position in Tree.Tasks, 0 is the root
	Parent *Task // nil for the root
	Owner  *Task // the task that SharesFiles names, nil if it names none

	// Namespaces are the new namespaces in which the task and its descendants live. The
	// root has those of the tree.
	Namespaces []NamespaceItem

	// Carried is the owner of the shared table with which the task must be forked, nil
	// if the task starts with a copy of a table. The task or one of its descendants
	// shares that table, and the task is on the path to the other tasks that share it.
	//
	// The kernel lets a new task share only the table of the task that forks it
	// (CLONE_FILES of clone(2)). So a table that a task shares with its grandchild
	// passes through the child between them, which then leaves it (unshare(2)). A table
	// that two siblings share is also their parent's, until the parent leaves it.
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
	File    Text // the open file's name, with ".END" if its kind has ends
	Cloexec bool // FD_CLOEXEC: belongs to the descriptor, not to the open file
	Pos     Pos

	// Set by Tree.Check.
	Open *OpenFile
	End  int // index into Open.Spec.Ends(), 0 for a kind without ends
}
