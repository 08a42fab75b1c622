package plan

import (
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// Options are the options of the planner. The zero value works.
type Options struct {
	// Inherit has the caller's descriptors that the tree may inherit, by key: the key
	// of an inherit, or the name of an open file, which the descriptor replaces
	// ([tasktree.Tree.Replace]). stdin, stdout and stderr need not be listed. Default:
	// no others.
	Inherit map[string]int

	// WithoutStdin refuses to inherit descriptor 0 of the caller, for a description that
	// was read from it. Default: false.
	WithoutStdin bool

	// Detach puts the root into a session and a process group of its own. Default:
	// false.
	Detach bool

	// Strategy decides how open files get into the tables of the tasks. Default:
	// [StrategyFDStore].
	Strategy Strategy

	// Naive plans as restorers did that ran into conflicts: helpers are placed at the
	// lowest number, and descriptors are installed in the order listed, over whatever
	// is there. Package model predicts what is lost. If an op of a task fails, the task
	// records it and goes on. Default: false.
	Naive bool

	// ServiceFD places the store at this number while tasks are restored. A careful
	// plan moves the store in tasks that need the number, a naive plan does not.
	// [StrategyInherit] ignores it. Default: nil, the planner chooses.
	ServiceFD *int

	Memory
	Layout fdstore.Layout // of the store, for tests; 0: by the number of messages
	Once   bool           // no message brings an open file more than once
	Help   int            // number of fork helpers of each task that forks more children than that, for tests; 0: as many as are worth it
}

// Plan is everything that restoring a tree will do. It is data: it can be verified, printed and
// compared without running anything. It does not change once made, and may be started by one
// caller at a time.
type Plan struct {
	Tree      *tasktree.Tree
	Host      Host
	Options   Options
	Arena     *program.Arena
	Prepare   program.Program   // of the runner, before the first clone
	Commit    program.Program   // of the runner, at the commit point
	Tasks     []program.Program // in the order of Tree.Tasks
	Layout    fdstore.Layout    // of the store
	Messages  [][]FileEnd       // the open files of each message of the store
	Words     map[wire.Word]fdstore.ID
	Extras    []Extra
	Helpers   []HelperProcess
	Slots     int // number of results that the runner keeps
	StoreFD   int // number of the store in the root and in the tasks that it forks, -1: there is no store
	Lent      []Lent
	Learned   []Learned         // in the order of the files
	SlotsAt   uint64            // address of the numbers that open files have in a bench, by slot; 0: no bench
	SlotsOf   map[FileEnd]int32 // slot of each open file that the runner makes
	Benches   []Bench           // in the order in which the runner starts them
	Held      int               // number of tasks without a program
	TasksLook bool              // tasks open paths safely, so they need the mounts of procfs
	Faulty    bool              // a test makes an op fail; the model would refuse the plan

	RootClone uint64 // address of the root's clone_args
	ForkHints int32  // index of an extra
}

// HelperProcess is a process that forks some children of a task (a fork helper). Helper k has
// Record k after those of the tasks.
type HelperProcess struct {
	Task int // index of the task
	Op   int // index of the first op of its part in the task's program
}

// Process returns the task of a process, by the index of its Record, and the index of its first
// op in the task's program.
func (p *Plan) Process(record int) (task, op int) {
	if record < len(p.Tasks) {
		return record, 0
	}
	h := p.Helpers[record-len(p.Tasks)]
	return h.Task, h.Op
}

// Processes returns the number of records.
func (p *Plan) Processes() int { return len(p.Tasks) + len(p.Helpers) }

// Bench is the program of a process that makes steps of recipes. It is gone before the
// first clone, see [recipe.Bench].
type Bench struct {
	program.Program

	Record  int    // number of its record
	Clone   uint64 // address of its clone_args
	PIDFD   uint64 // address of its pidfd, for the runner
	Numbers []int  // that it takes, ascending
}

// NewSlot returns a new slot for a result that the runner keeps.
func (p *Plan) NewSlot() int32 {
	p.Slots++
	return int32(p.Slots - 1)
}

// TaskPID returns a task's pid in its innermost pid namespace. pid is that of its
// record, the one that its parent sees; it differs for the first task of a new
// namespace.
func (p *Plan) TaskPID(task int, pid int32) int {
	if p.Tree.Tasks()[task].HasNamespace(tasktree.NamespacePID) {
		return 1
	}
	return int(pid)
}

// MessageOf returns the message that an OpPull pulls: an index into Plan.Messages, or -1 if it
// pulls a socket of a nested store.
func (p *Plan) MessageOf(op *program.Op) int {
	if id, ok := p.Words[wire.Word(op.Args[1])]; ok {
		return int(id)
	}
	return -1
}

// OpenFiles returns the number of open files that are made once and put into the store.
func (p *Plan) OpenFiles() int {
	seen := map[FileEnd]bool{}
	for _, m := range p.Messages {
		for _, fe := range m {
			seen[fe] = true
		}
	}
	return len(seen)
}

// InFlight returns the number of open files in the messages of the store.
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

// HowFlags returns the flags in a struct open_how.
func (p *Plan) HowFlags(addr uint64) uint64 {
	if words := program.WordsAt(p.Arena.Base, p.Arena.Data(), addr, 1); words != nil {
		return words[0]
	}
	return 0
}

// Looks reports whether an op opens a path with O_PATH, and returns its flags.
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

// SentFD returns the descriptor in the message that an op sends, -1 for none.
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

// Sorted returns a task's descriptors by number. It reuses the memory of in if that is large
// enough.
func (p *Plan) Sorted(in []*tasktree.Descriptor, task *tasktree.Task) []*tasktree.Descriptor {
	all := slices.Grow(in[:0], len(task.FDs))
	for i := range task.FDs {
		all = append(all, &task.FDs[i])
	}
	slices.SortFunc(all, func(a, b *tasktree.Descriptor) int { return a.FD - b.FD })
	return all
}

// OpenAtOnce returns the largest number of descriptors that the open files of the runner take
// while they are made.
func (p *Plan) OpenAtOnce() int {
	open, most := 0, 0
	for i := range p.Prepare.Ops {
		op := &p.Prepare.Ops[i]
		open += int(p.Prepare.Notes[i].Makes)
		most = max(most, open)
		if op.Nr == unix.SYS_CLOSE && op.Mode(0) == program.ModeSlot {
			open-- // one that was opened with O_PATH
		}
	}
	return most
}

// MostHelpers is the largest number of fork helpers of a task. More would hinder each other,
// because they all change the same lists of the kernel.
const MostHelpers = 7

// OpsBase returns the address of the first op.
func (p *Plan) OpsBase() uint64 {
	return p.Arena.Base + uint64(len(p.Arena.Data())+7)&^7
}

// ArenaSize returns the size of the arena in bytes: its data, then the ops of all tasks and
// benches.
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
