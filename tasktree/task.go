package tasktree

// Task is a process that is to be restored.
type Task struct {
	Name     string
	Pos      Pos
	PID      Number // exact pid, in the tree's pid namespace if it has one; Value 0: the kernel chooses
	FDs      []Descriptor
	Children []*Task
	Run      []Text // program and arguments; empty: the task holds until it is killed
	RunPos   Pos
	Env      []EnvVar // added to the caller's environment, a later name replaces an earlier one
	EnvClear bool     // start from an empty environment
	Cwd      Text     // Value "": the caller's

	// Set by Tree.Check.
	Index  int   // position in Tree.Tasks, 0 is the root
	Parent *Task // nil for the root
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

// Sharer reports whether the task has no descriptor table of its own.
func (t *Task) Sharer() bool { return false }

// Table gives the task whose table this one has: itself, or the one that it
// shares with.
func (t *Task) Table() *Task { return t }
