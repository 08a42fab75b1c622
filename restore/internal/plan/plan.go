package plan

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// Options says how a tree is to be planned. The zero value works.
type Options struct {
	// Inherit gives the caller's descriptors that the tree may take over, by
	// key: that of an inherit, or the name of an open file, whose place the
	// descriptor takes ([tasktree.Tree.Replace]). stdin, stdout and stderr are
	// there without being named. Default: no others.
	Inherit map[string]int

	// WithoutStdin refuses descriptor 0 of the caller: the description came
	// from there. Default: false.
	WithoutStdin bool

	// Detach gives the root task a session and a process group of its own.
	// Default: false.
	Detach bool

	// Strategy is how open files get into the tables of the tasks. Default:
	// [StrategyFDStore].
	Strategy Strategy

	// Naive plans as restorers did that ran into conflicts: helper descriptors
	// at the lowest number, descriptors installed in the order listed over
	// whatever is there. What goes wrong then is part of the plan, see
	// package model; a failed op is noted and the task goes on. Default: false.
	Naive bool

	// ServiceFD is where the descriptor of the store sits while tasks are
	// restored: a careful plan moves it away in tasks that need the number, a
	// naive one does not. It means nothing to [StrategyInherit]. Default: nil,
	// the planner chooses.
	ServiceFD *int

	Memory
	Layout fdstore.Layout // of the store, for tests; 0: by the number of messages
	Once   bool           // no message brings an open file more than once
	Help   int            // helpers of each task that forks more children than that, for tests; 0: by what pays
}

// Plan is everything that restoring a tree will do, decided beforehand. It is
// data: it can be verified, printed and compared without running anything. A
// plan is not changed any more once made, and may be started once at a time.
type Plan struct {
	Tree      *tasktree.Tree
	Host      Host
	Options   Options
	Arena     *program.Arena
	Prepare   program.Program   // the runner's, before the first clone
	Commit    program.Program   // the runner's, at the commit point
	Tasks     []program.Program // in the order of Tree.Tasks
	Layout    fdstore.Layout    // of the store
	Messages  [][]FileEnd       // what each message of the store holds
	Words     map[wire.Word]fdstore.ID
	Extras    []Extra
	Helpers   []HelperProcess
	Slots     int // results that the runner keeps
	StoreFD   int // the store's number in the root and in what it forks, -1: there is no store
	Lent      []Lent
	Learned   []Learned         // in the order of the files
	SlotsAt   uint64            // address of the numbers that open files have in a bench, by slot; 0: no bench
	SlotsOf   map[FileEnd]int32 // of each open file that the runner makes
	Benches   []Bench           // in the order in which the runner starts them
	Held      int               // tasks without a program
	TasksLook bool              // tasks open paths that must be safe, so they need to know where a procfs is
	Faulty    bool              // a test makes an op fail, which the model would refuse

	RootClone uint64 // address of the root's clone_args
	ForkHints int32  // index of an extra
}

// HelperProcess is a process that forks children of a task beside it. The k-th helper has the
// k-th Record behind those of the tasks.
type HelperProcess struct {
	Task int // index of the task
	Op   int // index of the first op of its part in the task's program
}

// Process gives the task for which a process runs, by the number of its Record, and the
// index of its first op in the task's program.
func (p *Plan) Process(record int) (task, op int) {
	if record < len(p.Tasks) {
		return record, 0
	}
	h := p.Helpers[record-len(p.Tasks)]
	return h.Task, h.Op
}

// Processes gives how many records there are.
func (p *Plan) Processes() int { return len(p.Tasks) + len(p.Helpers) }

// Bench is what a process does that makes steps of recipes and is gone before the first
// clone, see [recipe.Bench].
type Bench struct {
	program.Program

	Record  int    // number of its record
	Clone   uint64 // address of its clone_args
	PIDFD   uint64 // address of its pidfd, for the runner
	Numbers []int  // that it takes, ascending
}

// NewSlot gives a new place for a result that the runner keeps.
func (p *Plan) NewSlot() int32 {
	p.Slots++
	return int32(p.Slots - 1)
}

// TaskPID gives a task's number in the innermost pid namespace that it is in. pid is what
// its record says: the number that its parent has made it with, which the first task of a
// new namespace does not have there.
func (p *Plan) TaskPID(task int, pid int32) int {
	if p.Tree.Tasks()[task].HasNamespace(tasktree.NamespacePID) {
		return 1
	}
	return int(pid)
}

// MessageOf gives the message that an OpPull takes: an index into Plan.Messages,
// or -1 if it takes a socket of the store.
func (p *Plan) MessageOf(op *program.Op) int {
	if id, ok := p.Words[wire.Word(op.Args[1])]; ok {
		return int(id)
	}
	return -1
}

// OpenFiles gives the number of open files that are made once and put in the store.
func (p *Plan) OpenFiles() int {
	seen := map[FileEnd]bool{}
	for _, m := range p.Messages {
		for _, fe := range m {
			seen[fe] = true
		}
	}
	return len(seen)
}

// InFlight gives how many open files lie in the store.
func (p *Plan) InFlight() int {
	n := 0
	for _, m := range p.Messages {
		n += len(m)
	}
	return n
}

// InArena reports whether a number is an address of the plan's data.
func (p *Plan) InArena(addr uint64) bool {
	return addr >= p.Arena.Base && addr-p.Arena.Base < uint64(len(p.Arena.Data()))
}

// HowFlags gives the flags in a struct open_how.
func (p *Plan) HowFlags(addr uint64) uint64 {
	if words := program.WordsAt(p.Arena.Base, p.Arena.Data(), addr, 1); words != nil {
		return words[0]
	}
	return 0
}

// Looks reports whether an op opens a path as a mere place, and with which flags.
func (p *Plan) Looks(op *program.Op) (flags uint64, ok bool) {
	switch {
	case op.Kind != program.OpCall:
		return 0, false
	case op.Nr == unix.SYS_OPENAT:
		flags = op.Args[2]
	case op.Nr == unix.SYS_OPENAT2:
		flags = p.HowFlags(op.Args[2])
	}
	return flags, flags&unix.O_PATH != 0
}

// SentFD gives the descriptor that a message of ask carries, -1 for none.
func (p *Plan) SentFD(op *program.Op) int {
	header := program.WordsAt(p.Arena.Base, p.Arena.Data(), op.Args[1], 7)
	const control, length = 4, 5
	if header == nil || header[length] == 0 {
		return -1
	}
	rights := slices.Clone(program.At(p.Arena.Base, p.Arena.Data(), header[control], header[length]))
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1
	}
	return fds[0]
}

// Sorted gives a task's descriptors by number, in memory that is used again if it
// is large enough.
func (p *Plan) Sorted(in []*tasktree.Descriptor, task *tasktree.Task) []*tasktree.Descriptor {
	all := slices.Grow(in[:0], len(task.FDs))
	for i := range task.FDs {
		all = append(all, &task.FDs[i])
	}
	slices.SortFunc(all, func(a, b *tasktree.Descriptor) int { return a.FD - b.FD })
	return all
}

// OpenAtOnce gives the most descriptors that the files of the runner take at a time
// while it makes them.
func (p *Plan) OpenAtOnce() int {
	open, most := 0, 0
	for i := range p.Prepare.Ops {
		op := &p.Prepare.Ops[i]
		open += int(p.Prepare.Notes[i].Makes)
		most = max(most, open)
		if op.Nr == unix.SYS_CLOSE && op.Mode(0) == program.ModeSlot {
			open-- // what was only looked at
		}
	}
	return most
}

// MostHelpers is how many processes fork children of a task beside it at most: more
// stand in each other's way, since they all change the same lists of the kernel.
const MostHelpers = 7

// OpsBase gives the address of the first op.
func (p *Plan) OpsBase() uint64 {
	return p.Arena.Base + uint64(len(p.Arena.Data())+7)&^7
}

// ArenaSize gives the bytes of the arena: its data, then the ops of all tasks and benches.
func (p *Plan) ArenaSize() int {
	n := int(p.OpsBase() - p.Arena.Base)
	for i := range p.Tasks {
		n += len(p.Tasks[i].Ops) * program.OpSize
	}
	for i := range p.Benches {
		n += len(p.Benches[i].Ops) * program.OpSize
	}
	return n
}
