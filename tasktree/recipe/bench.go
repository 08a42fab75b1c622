package recipe

import "regrow/tasktree/schema"

// Bench says in which process the steps of [Maker.Bench] are made: a child of the
// process that restores, which ends when it has made them. It has that process's user,
// folder and namespaces, also where the tree gets namespaces of its own, unless a field
// says otherwise; its descriptor table is always its own.
//
// Steps with the same settings are made by one process where nothing that they name is
// needed before.
type Bench struct {
	// Cwd is its folder, an absolute path. Default: that of the process that restores.
	Cwd string

	// New has the namespaces that it leaves for new ones, CLONE_NEW* of unshare(2)
	// without CLONE_NEWPID. With CLONE_NEWUSER the caller is user and group 0 there.
	// Default: none.
	New int

	// As has its credentials. Default: those of the process that restores.
	As *Credentials
}

// Credentials are a user, a group and supplementary groups, as the user namespace has
// them: a new one, if [Bench.New] asks for it. The user and the group are the real, the
// effective and the saved one, and that for files.
type Credentials struct {
	UID, GID int
	Groups   []int
}

// BenchMaker takes the steps of a [Bench]. It knows the Refs and Cells of the Maker
// whose method was called, and that one knows those of its Refs that were given back.
//
// The steps either make files (FD) or take numbers (Put), not both: the kernel gives a
// new file the lowest free number, which may be one that is to be taken.
type BenchMaker interface {
	// At names the place of the description that asks for the steps that follow.
	At(pos schema.Pos)

	// Call makes one system call. It can give neither a descriptor nor two.
	Call(c Call)

	// FD makes one system call that gives a new descriptor, which must be
	// close-on-exec.
	FD(c Call) Ref

	// Undo has an absolute path removed if the restore fails, as [Maker.Undo] does: what
	// the call before has made.
	Undo(path string)

	// Put has an open file at the number n, too. The Ref names that number: as an
	// argument it is n. The number must be free, and below the hard RLIMIT_NOFILE.
	Put(f Ref, n int) Ref

	// Close closes what FD or Put has made.
	Close(f Ref)

	// Give sends what FD has made to the process that restores, which owns it then. What
	// is not given is closed with the bench.
	Give(files ...Ref)

	// Cell gives 8 bytes, zero, for a call to write to.
	Cell() Cell

	// Child makes a process that ends at once with a status, 0 to 255. The cell has
	// its pid, as the bench's pid namespace has it. Until Reap it is a zombie.
	Child(status int) Cell

	// Reap waits until the child has ended, and takes its status: there is no such
	// process then, and its pid may become another one's. Each child must be reaped.
	Reap(child Cell)
}

// Until is how long the process that restores keeps a descriptor, see [Maker.Keep].
type Until uint8

// The ends, in the order in which they come.
const (
	// UntilStored: every open file is made, and stored. No task is there yet.
	UntilStored Until = iota
	// UntilReady: each task has all that it shall have, and waits for the release.
	UntilReady
	// UntilReleased: the tasks go on.
	UntilReleased
)
