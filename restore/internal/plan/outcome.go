package plan

// Outcome is the end of a task's restore, predicted or real.
type Outcome struct {
	// Failed is the first op that fails, nil if none does.
	Failed *FailedOp `json:"failed,omitempty"`
	// Shares is the name of the task whose descriptor table this one shares, "" if it has
	// its own.
	Shares string `json:"shares,omitempty"`
	// Table has the descriptors when the task is ready, by number.
	Table map[int]Held `json:"table"`
}

// Held is the open file of a descriptor.
type Held struct {
	File    string `json:"file"` // the open file's name, or [store], [helper] and so on
	Cloexec bool   `json:"cloexec"`
}

// FailedOp is an op of a naive plan that fails.
type FailedOp struct {
	Op   int    `json:"op"`   // index in the task's program
	What string `json:"what"` // its purpose, and the call
	Line int    `json:"line"`
	Why  string `json:"why"` // the error; that of a prediction may differ
}

// View is a tree at the commit point, when every task is ready. It is valid until the function
// that gets it returns.
type View struct {
	// PIDs are the pids of the tasks in the pid namespace of this process, in the order of
	// the description; 0 if a pid was not found.
	PIDs []int
	// Failed has, for each task, the first op that failed, nil for none. Only tasks of a
	// naive plan go on after a failure.
	Failed []*FailedOp
	// Files are the descriptors of this process for the open files that it has made or
	// lent, by name: "log", "jobs.r", and "[store]" or "[service]" for what keeps them.
	// Files that tasks make themselves are not included. The function must not close
	// them.
	Files map[string]int
}
