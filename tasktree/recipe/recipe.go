package recipe

import "regrow/tasktree/schema"

// Ref names a descriptor that a step of a recipe has made, or asked for with
// [Maker.Use]. It is only good for the Maker that gave it.
type Ref int

// Cell names a number that a step has given: the result of a call, or what a call
// wrote. It is only good for the Maker that gave it.
type Cell int

// Call is one system call.
type Call struct {
	Name   string  // "fcntl(F_SETPIPE_SZ)", "lseek": what messages call it
	Nr     uintptr // SYS_ number
	Args   []Arg   // at most 6
	Effect Effect  // must be declared; those of FD and Pair are known
	Want   int64   // the result that is demanded if HasWant
	Short  string  // message if the result is not Want: "short write"
	Hints  []Hint
	Allow  int // an errno that is no failure, 0: none

	HasWant bool
	Retry   bool // after EINTR, beside those that are made again anyway: open, write, sendmsg and so on
	When    Condition
}

// Hint is what a message adds for one errno: which limit was met, what to do.
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

// Effect is what a call changes of what the model of descriptor tables knows,
// beside its result. A call whose effect is not declared is refused with the plan.
type Effect uint8

// The effects.
const (
	Undeclared Effect = iota
	Nothing           // only the open files and the memory that its arguments name
	GivesFD           // its result is a new descriptor
	GivesPair         // it writes two new descriptors
	Closes            // its first argument is a descriptor that is free then
	NewSession        // setsid(2)
	NewGroup          // setpgid(2)
	User              // credentials, capabilities
	Limit             // a resource limit
	Namespace         // unshare(2), setns(2)
	Folder            // chdir(2), chroot(2)
	Ends              // the process is gone
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

// ArgKind says which fields of an [Arg] count.
type ArgKind uint8

// The kinds of arguments.
const (
	ArgInt        ArgKind = iota // Int itself
	ArgData                      // the address of a copy of Data
	ArgFD                        // the number of the descriptor Ref
	ArgPair                      // the address where Pair's call puts two descriptors
	ArgCell                      // the number in Cell
	ArgOut                       // the address of the 8 bytes of Cell, which the call writes
	ArgStruct                    // the address of Parts one after the other, as they are when the call is made
	ArgTask                      // the pid of the task Task
	ArgDescriptor                // the number Int in the task's table
)

// Int is a plain number. In a struct it has 8 bytes, see [Int32].
func Int(n int64) Arg { return Arg{Kind: ArgInt, Int: n} }

// Data is the address of a copy of b, in a struct b itself. The kernel may write
// to it; nobody reads what it wrote.
func Data(b []byte) Arg { return Arg{Kind: ArgData, Data: b} }

// FD is the number of a descriptor, in a struct as 4 bytes.
func FD(r Ref) Arg { return Arg{Kind: ArgFD, Ref: r} }

// PairAt is where a call of [Maker.Pair] writes its two descriptors.
func PairAt() Arg { return Arg{Kind: ArgPair} }

// Number is the number in a cell, in a struct as 4 bytes.
func Number(c Cell) Arg { return Arg{Kind: ArgCell, Cell: c} }

// Out is the address of a cell, which the call writes.
func Out(c Cell) Arg { return Arg{Kind: ArgOut, Cell: c} }

// PID is the pid of the task with that name, as the tree's pid namespace counts; in a
// struct it has 4 bytes. It is for the steps of tasks, and for a task that exists then:
// an ancestor, a child in the stages from Turns on, or one that was waited for
// ([Wirer.After]). The root of a new pid namespace has none.
func PID(task string) Arg { return Arg{Kind: ArgTask, Task: task} }

// Descriptor is a number in the task's own table, which has an end of the open file
// whose steps these are. It is for steps that tasks take for an open file.
func Descriptor(fd int) Arg { return Arg{Kind: ArgDescriptor, Int: int64(fd)} }

// Struct is the address of its parts, which stand without gaps.
func Struct(parts ...Arg) Arg { return Arg{Kind: ArgStruct, Parts: parts} }

// Maker takes the steps that make one open file. The planner implements it twice:
// for a file that one task makes for itself, where every descriptor number is
// known beforehand, and for a file that the runner makes once and puts in the
// store. What only the second can do says so; a spec that needs it has the trait
// ByRunner.
//
// A descriptor that a step makes, that is not among the Refs which the recipe gives back
// and that it does not keep ([Maker.Keep]) is closed by the Maker in the end.
type Maker interface {
	// At names the place of the description that asks for the steps that
	// follow. Without it that is the entry's own position.
	At(pos schema.Pos)

	// Has reports whether a condition holds on the host that restores, for a call that
	// has other arguments there.
	Has(c Condition) bool

	// Call makes one system call.
	Call(c Call)

	// FD makes one system call that gives a new descriptor, which must be
	// close-on-exec until it is installed.
	FD(c Call) Ref

	// Pair makes one system call that writes two new descriptors where its
	// argument [PairAt] points at: pipe2, socketpair.
	Pair(c Call) (Ref, Ref)

	// Open opens a path. See [Open].
	Open(o Open) Ref

	// Reopen opens what another descriptor has open once more, by the runner only.
	// See [Reopen].
	Reopen(o Reopen) Ref

	// Own gives an end of the file itself, in the phases after make.
	Own(end int) Ref

	// Caller takes over the caller's descriptor that goes by key: "stdin",
	// "stdout", "stderr" or a key of --inherit-fd. By the runner only.
	Caller(key string) Ref

	// Use gives an end of another open file of the description. In the phase
	// make it must have been made before, so the spec names it: Ordered of package
	// tasktree. By the runner only.
	Use(file string, end int) Ref

	// Cell gives 8 bytes, zero, for a call to write to. By the runner only, as
	// the following ones.
	Cell() Cell

	// Await makes a call again and again until the number in a cell is at least
	// that much: until what was sent has arrived, for example. After 10 s it is
	// an error.
	Await(c Call, in Cell, least int64)

	// Learn puts a part of a cell into the report, under a key: the port that the
	// kernel has chosen.
	Learn(key string, n Part)

	// Undo has a path removed if the restore fails, unless somebody has put
	// another file there meanwhile: what the step before has made, a socket's
	// name or a folder.
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

// Open is what open(2) is asked for. What is there already is first looked at with
// O_PATH, so that a file which is refused is not opened: a FIFO would block or let
// its other side through.
type Open struct {
	Path   string
	Flags  int // of open(2), without O_CREAT, O_EXCL and O_TRUNC
	Refuse FileTypes

	// Create makes the file if it is not there, and removes it again if the
	// restore fails. The file is first tried with O_EXCL, so that "made by us" is
	// certain. By the runner only, as Truncate.
	Create  bool
	Must    bool   // the file must not be there yet
	Mode    uint32 // exact permissions of a file that is made
	Content []byte // of a file that is made, from offset 0; the offset is then 0 again

	// Truncate cuts the file to length 0 when every task is ready and the tree is
	// about to be released. It matters for regular files only. TruncatePos is the
	// place that asks for it.
	Truncate    bool
	TruncatePos schema.Pos
}

// FileTypes is a set of file types, see inode(7).
type FileTypes uint16

// The file types that a recipe can refuse.
const (
	TypeFIFO FileTypes = 1 << iota
	TypeSocket
)

// Message is what sendmsg(2) sends.
type Message struct {
	To    Ref
	Flags int    // of sendmsg; MSG_DONTWAIT and MSG_NOSIGNAL are always there
	Addr  []byte // a sockaddr, nil: the peer
	Data  []byte // nil sends an empty datagram
	Files []Ref  // SCM_RIGHTS, at most 253
	Hints []Hint
}

// Need is something that a host must have, asked for before anything is started.
type Need struct {
	Pos  schema.Pos
	What Resource
	N    int64 // how much of it
	Size int64 // bytes of each, where they differ
}

// Resource is what a [Need] is about.
type Resource uint8

// The resources.
const (
	// PipePages is a pipe of N bytes, as the kernel rounds it: a new one if the
	// description says no capacity.
	PipePages Resource = iota
	// NiceValue is the nice value N.
	NiceValue
	// HugePages are N huge pages of Size bytes.
	HugePages
	// SealExec is the seal F_SEAL_EXEC.
	SealExec
)

// Stage is a position in the program of a task at which a step may stand. It is no
// meeting: tasks wait for one another only where a step needs it ([Wirer.After]).
type Stage uint8

// The stages, in the order of a program. See package planner for what stands
// between them.
const (
	Enter     Stage = iota // the task has begun, and nothing else; what is done here its children inherit
	Session                // the session, before the children are forked into it
	Turns                  // the children are there: who adopts orphans
	Groups                 // process groups; the table is still empty
	Wired                  // the table is as described, and only that
	Place                  // what files and programs are looked up from: folder, mask; and what may be inherited by nobody
	Deaths                 // children that end by plan are waited for
	Rights                 // credentials: nothing behind this needs a right that the task does not keep
	LastFiles              // what sees or disturbs the steps before, or is done with the task's own credentials
	Stops                  // who waits until another one is stopped; the last stage before the gate
	Last                   // behind the gate: signals that wait, timers
	End                    // behind the signal mask, before the task runs its program or holds: filters of calls
	Stages                 // how many there are
)

// Wirer takes the steps that a task makes for its attributes.
type Wirer interface {
	// At names the place of the description that asks for the steps that follow.
	At(pos schema.Pos)

	// Call makes one system call, in a stage. Calls of one stage are made in the
	// order in which they are written.
	Call(s Stage, c Call)

	// Result makes one system call and keeps its result.
	Result(s Stage, c Call) Cell

	// Cell gives 8 bytes, zero, for a call to write to.
	Cell() Cell

	// After has the task wait, before its steps of stage s, until another task has
	// done its steps of stage t. Tasks must not wait for one another in a circle, nor
	// before the gate for what is behind it.
	After(s Stage, task string, t Stage)

	// Leave ends the task by plan, by a call with the effect [Ends], in place of the
	// gate: after the stage Stops. The task is not waited for at the gate, so whoever
	// must know that it has ended waits for that, as its parent does by waitid(2). The
	// root cannot end.
	Leave(c Call)
}
