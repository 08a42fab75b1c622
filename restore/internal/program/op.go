package program

// Op is one step of a program. It holds no pointer, only numbers and addresses
// inside the arena, so that plans compare byte for byte and a task can read it
// without the Go runtime. 80 bytes.
type Op struct {
	Kind  OpKind
	Flags OpFlags
	Allow uint16 // errno that is no failure; 0: none
	Modes uint32 // how each argument is taken, 4 bits an argument, see Mode
	Nr    uint32 // SYS_ number of OpCall and OpPair
	Out   int32  // slot for the result (runner and benches); NoSlot: none. OpPair fills Out and Out+1. In a task with FlagKeep: see Op.Keep
	Args  [6]uint64
	Want  int64 // the result that is demanded if FlagWant is set
	At    int64 // when a task began the op, CLOCK_MONOTONIC in ns; only in the arena of a traced restore
}

// OpSize is the size of an Op in bytes.
const OpSize = 80

// EndSequences comes behind the ops from OpRefuse on that are sequences of system
// calls.
const EndSequences = OpPull

// NoSlot says that a result is not kept.
const NoSlot = -1

// OpKind says what an op does.
type OpKind uint8

// Ops of tasks. Each names its arguments.
const (
	// OpCall makes the system call Nr with all six arguments.
	OpCall OpKind = iota
	// OpPair makes the system call Nr, which writes two descriptors to
	// PairAddr. In a task Want holds the numbers that are demanded: the first
	// in the low 32 bits, the second in the high ones.
	OpPair
	// OpRefuse (fd, types) fails if fd names a file of one of the types, a
	// recipe.FileTypes, or one that would mean another process, see package
	// safepath.
	OpRefuse
	// OpFind (candidates, count, cell, task, how) finds the first of the
	// candidates, addresses of paths in an array of uint64, that is a program
	// and writes its address to the cell, unless another one has found it already.
	// How each is opened says the struct open_how at the address how. The runner
	// does it for a task whose rights are its own; one with other rights does it
	// itself.
	OpFind
	// OpWay (path, how, task) fails if the folder at the path cannot be
	// opened as how says, or would mean another process. It leaves nothing open.
	// The runner does it, or the root if tasks have other rights, for each folder
	// once; task is one that wants it.
	OpWay
	// OpReopenAt (path, how, look, link) opens the path a second time and demands
	// that it still leads to what the descriptor look has open. How has O_NOFOLLOW,
	// which thereby stays among the flags of the file, and O_NONBLOCK, which the
	// op takes away again unless FlagNonblock is set. link is the address of the
	// path by which look itself can be opened.
	OpReopenAt
	// OpPull (store fd, word, count, numbers, flags) takes the message with
	// this wire.Word out of the store and demands that its files land at the int32 numbers in
	// the array at the address numbers. flags: MSG_CMSG_CLOEXEC or 0. A sixth
	// argument bounds the tries, 0: as many as a crowd may need.
	OpPull
	// OpFork (clone_args, task) makes the child task, which goes on with its
	// own program. With FlagWant its pid must be Want, with FlagOldClone the
	// call is clone(2).
	OpFork
	// OpShed unmaps everything but the ranges that Head.Keep lists.
	OpShed
	// OpName (address, length) makes the name the task's argument list.
	OpName
	// OpBegin (robust list, its size, address of Record.Begun) makes the task's
	// death known, and notes that.
	OpBegin
	// OpGate (address of Head.Gate) waits until the tree is released. The task has
	// been counted in Head.Left by then, see [Arena.CountDown].
	OpGate
	// OpHold lets go of the robust list and of the arena and waits until somebody
	// kills the task. It has been counted in Head.Started by then.
	OpHold
	// OpTake (channel, word, count, numbers, flags, timespec) receives the
	// answer of a service with this word and demands what OpPull demands. If
	// the address of a timespec is given, it waits no longer than that.
	OpTake
	// OpMeet (address of a count, value) waits until the count is down to value
	// and then takes one off: tasks that share a table meet so.
	OpMeet
	// OpHelp (clone_args, record, count) makes a helper, a process that does the next
	// count ops in place of the task: OpForks, and an OpEnd. What it forks are children
	// of the task (CLONE_PARENT). The Record with that number is its own. Where no
	// helper can be made the task does the ops itself.
	OpHelp
	// OpEnd (status) ends a helper, or a child of a bench. In a task, or a bench, it does
	// nothing.
	OpEnd
	// OpReap (address of a pid, status, cell) waits for the end of the helper or child
	// with that pid, 0: there was none. Its status must be that one; with Reaped it goes
	// to the 4 bytes at cell, unless that is 0.
	OpReap
	// OpAwait (address of a counter) waits until the counter is zero, see
	// [Arena.CountDown].
	OpAwait
	// OpStore (number, address) writes a number to 4 bytes of the arena: that of a
	// descriptor into a message, for one. The runner and benches do it, too.
	OpStore
	// OpChild (clone_args, record, -, cell) makes a child of a bench, which has a record
	// of its own and goes on with the next op, an OpEnd. The kernel writes its pid to the
	// low half of the cell. It is not for tasks.
	OpChild
)

// Reaped stands beside the status in the cell of a process that was waited for: a bit
// that no status has, see wait(2).
const Reaped = 1 << 16

// Ops that only the process which runs the restore can do. Their results go to
// slots, since numbers in its table cannot be planned.
const (
	// OpReopen (fd, flags) opens /proc/self/fd/FD.
	OpReopen OpKind = iota + 64
	// OpCreate (path, flags, mode, content, length, refuse) opens a file that
	// is made if it is not there; with FlagMustCreate it must not be there.
	OpCreate
	// OpCaller (fd) demands that the caller left fd open.
	OpCaller
	// OpAdd (slots, count, message) puts the files in the int32 slots at the
	// address slots into the store as one message.
	OpAdd
	// OpLend (slot, cell) writes the number of the open file in the slot to the
	// cell, where the root task reads it. It moves it away beforehand from a
	// number that the root will fill.
	OpLend
	// OpTruncate (fd) cuts a regular file to length 0, at the commit point.
	OpTruncate
	// OpPoll makes the system call Nr with its first four arguments again and again,
	// until the number in the cell (fifth argument) is at least the sixth.
	OpPoll
	// OpBench (bench) has a bench do its program, and waits until it is gone. It moves
	// open files away beforehand from numbers that the bench will take.
	OpBench
	// OpReceive (channel, slots, count) takes the files that a bench has sent, to the
	// int32 slots at the address slots.
	OpReceive
	// OpMapped (fd, page, offset, data, length) writes data into a file by way of a
	// mapping, whose pages have so many bytes.
	OpMapped
)

// OpFlags modify an op.
type OpFlags uint8

// The flags of ops.
const (
	// FlagWant demands the result Want.
	FlagWant OpFlags = 1 << iota
	// FlagMustCreate belongs to OpCreate.
	FlagMustCreate
	// FlagOldClone belongs to OpFork, OpHelp, OpChild and OpBench: clone3 is refused here.
	FlagOldClone
	// FlagNonblock belongs to OpReopenAt: the file keeps O_NONBLOCK.
	FlagNonblock
	// FlagNote makes a failure of the op noted in the task's Record, and the task goes on,
	// like a restorer that ignores errors.
	FlagNote
	// FlagRetry belongs to OpCall: the call is made again when a signal has
	// interrupted it (EINTR). It is for calls that have done nothing then, so not
	// for close(2), which has freed the number, and not for clone3(2) and futex(2),
	// which have rules of their own.
	FlagRetry
	// FlagUndo makes the runner note what the call has made at the path of its Extra,
	// to remove it if the restore fails. In a bench an OpStore follows, of 1, if it was
	// made.
	FlagUndo
	// FlagKeep belongs to ops of tasks: the result is kept, see [Op.Keep].
	FlagKeep
)

// Mode says how an argument of an op is taken.
type Mode uint32

// The modes of arguments.
const (
	ModeValue  Mode = iota // the number itself
	ModeLoad               // the 64-bit number at that address in the arena
	ModeSlot               // the result in that slot (runner and benches)
	ModeLoad32             // the signed 32-bit number at that address in the arena: a pid in a Record
)

// Keep makes an op of a task put its result into the 8 bytes at cell, in the arena that
// begins at base.
func (o *Op) Keep(base, cell uint64) {
	o.Flags |= FlagKeep
	o.Out = int32((cell - base) / 8)
}

// Kept gives the address of these 8 bytes, 0 if the result is not kept.
func (o *Op) Kept(base uint64) uint64 {
	if o.Flags&FlagKeep == 0 {
		return 0
	}
	return base + 8*uint64(o.Out)
}

// SetMode sets the mode of argument i.
func (o *Op) SetMode(i int, m Mode) {
	o.Modes = o.Modes&^(15<<(4*i)) | uint32(m)<<(4*i)
}

// Mode gives the mode of argument i.
func (o *Op) Mode(i int) Mode { return Mode(o.Modes >> (4 * i) & 15) }

// NoFD stands in a Note whose op belongs to no descriptor.
const NoFD = -1

// NoFile stands in a Note whose op belongs to no open file.
const NoFile = -1

// Note tells where an op comes from: what asked for it in the description, and
// what messages and pictures say of it. It never reaches the tasks.
type Note struct {
	Line, Col int32
	FD        int32 // the descriptor of the description, NoFD if none
	File      int32 // index into Tree.Files, NoFile if none
	End       int8
	Makes     int8   // how many descriptors of File's ends the op makes, from End on
	Verb      Verb   // what the op is for
	Effect    Effect // of a call: what it changes
	Extra     int32  // index into Plan.Extras, 0 if none: call's name and hints
}

// Verb says what an op is for, in words of messages: "install fd 5".
type Verb uint8

// The verbs.
const (
	VerbSetUp Verb = iota
	VerbFork
	VerbPull
	VerbMake
	VerbInstall
	VerbClose
	VerbMove
	VerbLimit
	VerbWay
	VerbChdir
	VerbName
	VerbReady
	VerbGate
	VerbExec
	VerbHold
	VerbAdd
	VerbFind
	VerbTruncate
	VerbLend
	VerbMeet
	VerbMap
	VerbHelper
	VerbChannel
	VerbAttribute
	VerbLeave
	VerbWire
	VerbBench
)

// Program is what one task does, or what the runner does before and after.
// Notes[i] belongs to Ops[i].
type Program struct {
	Ops   []Op
	Notes []Note
}
