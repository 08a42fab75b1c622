package plan

// Outcome is the end of a task's restore: predicted, or what really was.
type Outcome struct {
	// Failed is the first op that fails, nil if none does.
	Failed *FailedOp `json:"failed,omitempty"`
	// Shares is the task whose descriptor table this one has, "" if it has its
	// own.
	Shares string `json:"shares,omitempty"`
	// Table has each descriptor when the task is ready.
	Table map[int]Held `json:"table"`
}

// Held is what a descriptor is.
type Held struct {
	File    string `json:"file"` // the open file's name, or [store] and the like
	Cloexec bool   `json:"cloexec"`
}

// FailedOp is an op of a naive plan that fails.
type FailedOp struct {
	Op   int    `json:"op"`   // its number among the task's, from 0
	What string `json:"what"` // what it was for, and the call
	Line int    `json:"line"`
	Why  string `json:"why"` // the error; a prediction may know another one
}

// View is a tree at the commit point, when every task is ready: what there is to look
// at. It may be used until the function that gets it returns.
type View struct {
	// PIDs are the numbers of the tasks, in the order of the description, in the
	// pid namespace of this process; 0: not to be found.
	PIDs []int
	// Failed has of each task the first op that has failed, nil for none: only tasks
	// of a naive plan go on then.
	Failed []*FailedOp
	// Files are the descriptors of this process for the open files that it has made
	// or lent, by their names: "log", "jobs.r", and "[store]" or "[service]" for what
	// keeps them. What a task has made for itself is not among them. They are not to be
	// closed.
	Files map[string]int
}
