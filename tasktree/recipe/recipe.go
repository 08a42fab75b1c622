package recipe

import "regrow/tasktree/schema"

// Ref is a descriptor that a step of a recipe has made, or that [Maker.Use] has returned.
// It is valid only for the Maker that returned it.
type Ref int

// Cell is a place for a number: the result of a call, or memory that a call writes. It is
// valid only for the Maker that returned it.
type Cell int

// Call is one system call.
type Call struct {
	Name   string  // the call's name in messages: "fcntl(F_SETPIPE_SZ)", "lseek"
	Nr     uintptr // SYS_ number
	Args   []Arg   // at most 6
	Effect Effect  // must be declared, except for calls of Maker.FD and Maker.Pair
	Want   int64   // the required result, if HasWant
	Short  string  // message if the result is not Want: "short write"
	Hints  []Hint
	Allow  int // an errno that is not a failure; 0: none

	// Folder is the current folder of the one who makes the call, "" for that which he
	// has: paths in Args are looked up from there. By the runner only.
	Folder string

	HasWant bool
	Retry   bool // repeat after EINTR; open, write, sendmsg and others are always repeated
	When    Condition
}

// Hint is an addition to the message for one errno: which limit was reached, what to do.
type Hint struct {
	Errno int
	Text  string
}

// Condition says on which hosts a call is made.
type Condition uint8

// The conditions.
const (
	Always       Condition = iota
	PipesLimited           // the limits of all pipes of a user bind this process: a new pipe may be smaller than usual
	ExecSealed             // memory files know MFD_EXEC, MFD_NOEXEC_SEAL and F_SEAL_EXEC: since Linux 6.3
)

// Effect is what a call changes in the state that the model knows, apart from its result.
// A plan with a call of undeclared effect is refused.
type Effect uint8

// The effects.
const (
	Undeclared Effect = iota
	Nothing           // it changes only open files and memory that its arguments refer to
	GivesFD           // its result is a new descriptor
	GivesPair         // it writes two new descriptors
	Closes            // it closes the descriptor of its first argument
	NewSession        // setsid(2)
	NewGroup          // setpgid(2)
	User              // credentials, capabilities
	Limit             // a resource limit
	Namespace         // unshare(2), setns(2)
	Folder            // chdir(2), chroot(2)
	Ends              // it ends the process
)

// Arg is an argument of a [Call].
type Arg struct {
	Kind  ArgKind
	Int   int64
	Data  []byte
	Ref   Ref
	Cell  Cell
	Task  string // the name of a task
	Parts []Arg  // of ArgStruct
}

// ArgKind says which fields of an [Arg] are used.
type ArgKind uint8

// The kinds of arguments.
const (
	ArgInt        ArgKind = iota // Int itself
	ArgData                      // the address of a copy of Data
	ArgFD                        // the number of the descriptor Ref
	ArgPair                      // the address at which Pair's call writes two descriptors
	ArgCell                      // the number in Cell
	ArgOut                       // the address of the 8 bytes of Cell, which the call writes
	ArgStruct                    // the address of Parts, one after the other, with their values at the time of the call
	ArgTask                      // the pid of the task Task
	ArgDescriptor                // the number Int in the task's table
	ArgPointer                   // in a struct: the address of a copy of Data
)

// Int is a plain number. In a struct it has 8 bytes, see [Int32].
func Int(n int64) Arg { return Arg{Kind: ArgInt, Int: n} }

// Data is the address of a copy of b; in a struct it is b itself. The kernel may write to
// the copy, but nothing reads it afterwards.
func Data(b []byte) Arg { return Arg{Kind: ArgData, Data: b} }

// Pointer is a part of a struct: the address of a copy of b.
func Pointer(b []byte) Arg { return Arg{Kind: ArgPointer, Data: b} }

// FD is the number of a descriptor, in a struct as 4 bytes.
func FD(r Ref) Arg { return Arg{Kind: ArgFD, Ref: r} }

// PairAt is the address at which a call of [Maker.Pair] writes its two descriptors.
func PairAt() Arg { return Arg{Kind: ArgPair} }

// Number is the number in a cell, in a struct as 4 bytes.
func Number(c Cell) Arg { return Arg{Kind: ArgCell, Cell: c} }

// Out is the address of a cell, which the call writes.
func Out(c Cell) Arg { return Arg{Kind: ArgOut, Cell: c} }

// PID is the pid of the task with that name in the tree's pid namespace; in a struct it
// has 4 bytes. Only steps of tasks may use it, and only if that task exists at the time
// of the step: an ancestor, a child in the stages from Turns on, or a task that was
// waited for ([Wirer.After]). It cannot be used for the root of a new pid namespace.
func PID(task string) Arg { return Arg{Kind: ArgTask, Task: task} }

// Descriptor is a number in the task's own table, which refers to the open file whose steps
// these are. It is for steps that tasks take for an open file.
func Descriptor(fd int) Arg { return Arg{Kind: ArgDescriptor, Int: int64(fd)} }

// Struct is the address of its parts, which follow one another without gaps.
func Struct(parts ...Arg) Arg { return Arg{Kind: ArgStruct, Parts: parts} }

// Maker receives the steps that make one open file. The planner implements it twice:
// for a file that one task makes for itself, with every descriptor number known in
// advance, and for a file that the runner makes and puts into the store. Methods of the
// second alone are marked "by the runner only"; a spec that needs them has the trait
// ByRunner.
//
// The Maker closes each descriptor that a step makes, unless it is among the Refs that the
// recipe returns or is kept ([Maker.Keep]).
type Maker interface {
	// At sets the position for the steps that follow. Without it the position is that of
	// the entry.
	At(pos schema.Pos)

	// Has reports whether a condition holds on the host that restores, for a call that
	// has other arguments there.
	Has(c Condition) bool

	// Call makes one system call.
	Call(c Call)

	// FD makes one system call that returns a new descriptor. The descriptor must be
	// close-on-exec until it is installed.
	FD(c Call) Ref

	// Pair makes one system call that writes two new descriptors at its argument
	// [PairAt]: pipe2, socketpair.
	Pair(c Call) (Ref, Ref)

	// Open opens a path. See [Open].
	Open(o Open) Ref

	// Reopen opens the open file of another descriptor once more, by the runner only.
	// See [Reopen].
	Reopen(o Reopen) Ref

	// Own returns the descriptor of an end of the file itself, in the phases after make.
	Own(end int) Ref

	// Caller returns the caller's descriptor with that key: "stdin", "stdout", "stderr"
	// or a key of --inherit-fd. By the runner only.
	Caller(key string) Ref

	// Use returns an end of another open file of the description. In the phase make that
	// file must exist already, so the spec must list it (tasktree.Ordered). By the runner
	// only.
	Use(file string, end int) Ref

	// Cell returns 8 bytes, zero, for a call to write to. By the runner only, like the
	// methods below.
	Cell() Cell

	// Await repeats a call until the number in a cell is at least that large, for example
	// until sent data has arrived. It fails after 10 s.
	Await(c Call, in Cell, least int64)

	// Learn puts a part of a cell into the report, under a key: for example the port that
	// the kernel has chosen.
	Learn(key string, n Part)

	// Undo lets the runner remove a path if the restore fails: the name of a socket or the
	// folder that the step before has made. It is not removed if it is another file by
	// then.
	Undo(path string)

	// Message sends a message. See [Message].
	Message(m Message)

	// Bench has steps made by another process. See [Bench].
	Bench(b Bench, steps func(BenchMaker))

	// Keep has the process that restores hold what a step has made, and that is no end of
	// the file, and close it then.
	Keep(f Ref, until Until)

	// Mapped writes into a file by way of a mapping. See [Mapped].
	Mapped(m Mapped)
}

// Reopen is what open(2) is asked for of /proc/self/fd/N.
type Reopen struct {
	Of    Ref
	Flags int // of open(2)
	Hints []Hint
}

// Mapped is what is written into a file that takes no write(2): one of huge pages. The
// file has its size already.
type Mapped struct {
	To     Ref
	Offset int64
	Data   []byte
	Page   int64 // bytes of a page of the file, a power of two
	Hints  []Hint
}

// Part is an unsigned number in a [Cell].
type Part struct {
	Cell      Cell
	Offset    int // bytes from its start
	Size      int // 1, 2, 4 or 8 bytes
	BigEndian bool
}

// Open is the request to open a path. If the path exists, it is first opened with O_PATH,
// so that a refused file is not really opened: to open a FIFO could block, or release a
// process that waits at the other end.
type Open struct {
	Path   string
	Flags  int // of open(2), without O_CREAT, O_EXCL and O_TRUNC
	Refuse FileTypes

	// Create makes the file if it is not there, and removes it if the restore fails.
	// O_EXCL is tried first, so that it is certain who made the file. By the runner only,
	// like Truncate.
	Create  bool
	Must    bool   // the file must not be there yet
	Mode    uint32 // exact permissions of a file that is created
	Content []byte // of a file that is created, from offset 0; the offset is 0 afterwards

	// Truncate cuts the file to length 0 when every task is ready, immediately before
	// release. It affects only regular files. TruncatePos is the position of the flag.
	Truncate    bool
	TruncatePos schema.Pos
}

// FileTypes is a set of file types, see inode(7).
type FileTypes uint16

// The file types that a recipe can refuse.
const (
	TypeFIFO FileTypes = 1 << iota
	TypeSocket
	TypeNoFIFO // every type but FIFO; for what the runner opens
)

// Message is what sendmsg(2) sends.
type Message struct {
	To    Ref
	Flags int    // of sendmsg; MSG_DONTWAIT and MSG_NOSIGNAL are always added
	Addr  []byte // a sockaddr; nil: the peer
	From  string // the folder that a path in Addr is looked up from, as in [Call]
	Data  []byte // nil sends an empty datagram
	Files []Ref  // SCM_RIGHTS, at most 253
	Hints []Hint
}

// Need is something that the host must have. It is checked before anything is started.
type Need struct {
	Pos  schema.Pos
	What Resource
	N    int64 // how much of it
	Size int64 // bytes of each, where they differ
}

// Resource is the kind of a [Need].
type Resource uint8

// The resources.
const (
	// PipePages is a pipe of N bytes: its capacity as the kernel rounds it, or that of a
	// new pipe if the description sets none.
	PipePages Resource = iota
	// UnixOOB is an out-of-band byte in a Unix socket.
	UnixOOB
	// Backlog is a listener for which N connections may wait, and one more.
	Backlog
	// SendBuffer and ReceiveBuffer are N bytes, as SO_SNDBUF and SO_RCVBUF take them.
	SendBuffer
	ReceiveBuffer
	// InFlight are N open files that wait in queues of sockets.
	InFlight
	// NiceValue is the nice value N.
	NiceValue
	// HugePages are N huge pages of Size bytes.
	HugePages
	// SealExec is the seal F_SEAL_EXEC.
	SealExec
)

// Stage is a position in the program of a task at which a step may stand. It is not a
// meeting: tasks wait for one another only where a step asks for it ([Wirer.After]).
type Stage uint8

// The stages, in the order of a program. Package planner documents the steps between them.
const (
	Enter     Stage = iota // the start of the task; its children inherit the changes made here
	Session                // the session, before the children are forked into it
	Turns                  // the children exist: who adopts orphans
	Groups                 // process groups; the table is still empty
	Wired                  // the descriptor table is complete
	Place                  // where files and programs are looked up: folder, mask; and settings that no child may inherit
	Deaths                 // the wait for children that end by plan
	Rights                 // credentials: later steps need no right that the task does not keep
	LastFiles              // steps that observe or disturb those before, or that need the task's own credentials
	Stops                  // the wait until another task is stopped; the last stage before the gate
	Last                   // after the gate: pending signals, timers
	End                    // after the signal mask, before the program or holding: system call filters
	Stages                 // the number of stages
)

// Wirer receives the steps that a task makes for its attributes and open files.
type Wirer interface {
	// At sets the position for the steps that follow.
	At(pos schema.Pos)

	// Call makes one system call in a stage. Calls of one stage are made in the order in
	// which they are written.
	Call(s Stage, c Call)

	// Result makes one system call and keeps its result.
	Result(s Stage, c Call) Cell

	// Cell returns 8 bytes, zero, for a call to write to.
	Cell() Cell

	// After makes the task wait, before its steps of stage s, until another task has
	// done its steps of stage t. Tasks must not wait for one another in a circle, or
	// before the gate for a stage after it.
	After(s Stage, task string, t Stage)

	// Leave ends the task by plan in place of the gate, after the stage Stops. The call
	// has the effect [Ends]. The gate does not wait for the task, so a task that must
	// know of the end has to wait for it: its parent does by waitid(2). The root cannot
	// end.
	Leave(c Call)
}
