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

// Observation is what the tables of a tree really were when every task was
// ready.
type Observation struct {
	Tasks []Outcome `json:"tasks"` // in the order of the description
}

// View is a tree at the commit point, when every task is ready: what there is to look
// at. It may be used until the function that gets it returns.
type View struct {
	Plan   *Plan           // as it is carried out
	PIDs   []int           // of the tasks, in the caller's pid namespace; 0: not to be found
	Failed []*FailedOp     // of each task the first op that has failed, nil: none
	Made   map[FileEnd]int // the caller's descriptors of what it has made or lent, and of [TheStore]
}
