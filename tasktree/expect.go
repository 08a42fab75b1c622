package tasktree

// Found is a file that is there, as fstat(2) has it.
type Found struct {
	Mode     uint32 // type and permissions
	UID, GID uint32
	Size     int64
	Dev, Ino uint64
	Flags    int  // of open(2)
	Open     bool // it is an open file, which has flags; else a path
}

// Expecting is a [Spec] that may say what must be true of a file that is there. It is
// looked at before anything is made.
type Expecting interface {
	// Expects reports whether it says something.
	Expects() bool

	// Unexpected lists what is otherwise, with paths relative to the entry.
	Unexpected(is Found) []Problem
}
