package prepare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree/recipe"
)

// opFailure is an error of an op of the runner's own, before it gets its place
// in the description.
type opFailure struct {
	err    error
	reason string

	prog *program.Program // of the bench that failed, nil: it was the op itself
	op   int              // the bench's
}

// none reports that the op did not fail.
func (o opFailure) none() bool { return o.err == nil && o.reason == "" }

// carryOut runs ops that belong to the runner.
func (f *Files) carryOut(prog *program.Program) error {
	for i := range prog.Ops {
		if f.undo.GivenUp() {
			return plan.ErrCanceled
		}
		op := &prog.Ops[i]
		done := f.trace.Step(prog, i)
		got, why := f.stepIn(f.plan.Extras[prog.Notes[i].Extra].Folder, op)
		if op.Flags&program.FlagUndo != 0 && why.none() {
			why.err = f.undo.noteThere(f.plan.Extras[prog.Notes[i].Extra].Path)
		}
		done()
		if op.Kind == program.OpCall && op.Nr == unix.SYS_BIND && errors.Is(why.err, unix.EADDRINUSE) {
			address := program.At(f.plan.Arena.Base, f.plan.Arena.Data(), op.Args[1], op.Args[2])
			why.reason = addressHolder(address, f.plan.Extras[prog.Notes[i].Extra].Path)
		}
		if why.none() && op.Flags&program.FlagWant != 0 && got != op.Want {
			why.reason, _ = words.Reason(f.plan, op, prog.Notes[i], program.ReasonUnwanted, got)
		}
		if op.Allow != 0 && errors.Is(why.err, unix.Errno(op.Allow)) {
			why.err = nil
		}
		if !why.none() {
			return f.opError(prog, i, why)
		}
		if op.Out != program.NoSlot && op.Kind != program.OpPair {
			f.slots[op.Out] = slot{fd: int(got), open: true, borrowed: op.Kind == program.OpCaller}
		}
	}
	return nil
}

// opError gives a failure its place in the description.
func (f *Files) opError(prog *program.Program, i int, why opFailure) error {
	if why.prog != nil {
		prog, i = why.prog, why.op
	}
	op, task := &prog.Ops[i], -1
	if whose, ok := prog.Notes[i].For(op); ok {
		task = whose
	}
	failed := words.Failed{Task: task, Prog: prog, Op: i, Err: why.err, Reason: why.reason, Explain: host.ExplainPath}
	if prog.Notes[i].Verb == program.VerbFind {
		return words.ProgramError(f.plan, failed)
	}
	e := words.OpError(f.plan, failed)
	if fe, ok := errors.AsType[*fdstore.FileError](why.err); ok {
		// Which file it is says more than which message.
		of := f.plan.Messages[op.Args[2]][fe.Index]
		file := f.plan.Tree.Files[of.File]
		e.Pos, e.What, e.Err = file.Pos, fmt.Sprintf("put file %q into the store", file.EndName(int(of.End))), fe.Err
	}
	return e
}

// stepIn runs one op in a folder, "" for the current one. That is a thread's own there: the
// thread shares it with no other any more, and ends.
func (f *Files) stepIn(folder string, op *program.Op) (got int64, why opFailure) {
	if folder == "" {
		return f.step(op)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		err := os.NewSyscallError("unshare(CLONE_FS)", unix.Unshare(unix.CLONE_FS))
		if err == nil {
			err = safepath.IgnoringEINTR(func() error { return unix.Chdir(folder) })
		}
		if err != nil {
			why.err = fmt.Errorf("folder %s: %w", folder, err)
			return
		}
		got, why = f.step(op)
	}()
	<-done
	return got, why
}

// step runs one op and gives its result.
func (f *Files) step(op *program.Op) (int64, opFailure) {
	args := op.Args
	for i := range args {
		switch op.Mode(i) {
		case program.ModeValue:
		case program.ModeSlot:
			args[i] = uint64(f.slots[args[i]].fd)
		case program.ModeLoad:
			args[i] = binary.NativeEndian.Uint64(f.cell(args[i]))
		case program.ModeLoad32:
			panic("restore: bug: the runner uses no pids of tasks")
		}
	}
	switch op.Kind {
	case program.OpCall:
		got, err := f.call(op, args)
		if op.Nr == unix.SYS_CLOSE && op.Mode(0) == program.ModeSlot {
			f.slots[op.Args[0]].open = false
		}
		return got, opFailure{err: err}
	case program.OpPair:
		if _, err := postfork.Call(op.Nr, args); err != nil {
			return 0, opFailure{err: err}
		}
		pair := f.arena.PrivateBytes()[program.PrivPair:]
		for i := range 2 {
			f.slots[int(op.Out)+i] = slot{fd: int(int32(binary.NativeEndian.Uint32(pair[4*i:]))), open: true}
		}
		return 0, opFailure{}
	case program.OpRefuse:
		return 0, f.refuse(int(args[0]), recipe.FileTypes(args[1]))
	case program.OpReopen:
		fd, err := reopen(int(args[0]), int(args[1]))
		return int64(fd), opFailure{err: err}
	case program.OpReopenAt:
		path := host.StringAt(f.plan, args[0])
		return f.reopenAt(path, int(f.plan.HowFlags(args[1])), int(args[2]), op.Flags&program.FlagNonblock != 0)
	case program.OpWay:
		return 0, opFailure{err: f.way(host.StringAt(f.plan, args[0]), int(f.plan.HowFlags(args[1])))}
	case program.OpCreate:
		path := host.StringAt(f.plan, op.Args[0])
		content := program.At(f.plan.Arena.Base, f.plan.Arena.Data(), op.Args[3], op.Args[4])
		return f.create(path, int(op.Args[1]), uint32(op.Args[2]), content, op.Flags&program.FlagMustCreate != 0, recipe.FileTypes(op.Args[5]))
	case program.OpCaller:
		_, err := unix.FcntlInt(uintptr(args[0]), unix.F_GETFD, 0)
		return int64(args[0]), opFailure{err: err}
	case program.OpAdd:
		return 0, f.addMessage(op)
	case program.OpLend:
		return 0, opFailure{err: f.lend(op)}
	case program.OpFind:
		return 0, f.find(op)
	case program.OpTruncate:
		return 0, opFailure{err: truncate(int(args[0]))}
	case program.OpStore:
		binary.NativeEndian.PutUint32(f.cell(args[1]), uint32(args[0]))
		return 0, opFailure{}
	case program.OpMapped:
		data := program.At(f.plan.Arena.Base, f.plan.Arena.Data(), op.Args[3], op.Args[4])
		return 0, opFailure{err: mapped(int(args[0]), int64(args[1]), int64(args[2]), data)}
	case program.OpPoll:
		return 0, f.poll(op, args)
	case program.OpBench:
		return 0, bench{f, &f.plan.Benches[op.Args[0]]}.run()
	case program.OpReceive:
		return 0, f.receive(int(args[0]), op)
	default:
		return 0, opFailure{reason: fmt.Sprintf("bug: op kind %d is not the runner's", op.Kind)}
	}
}

// cell gives the memory of the arena from an address on.
func (f *Files) cell(addr uint64) []byte { return f.arena.Bytes()[addr-f.arena.Base:] }

// pollFor is how long a recipe waits for what it has sent to arrive.
const pollFor = 10 * time.Second

// poll repeats a call until a number in the arena is large enough.
func (f *Files) poll(op *program.Op, args [6]uint64) opFailure {
	cell, least := args[4], int64(args[5])
	args[4], args[5] = 0, 0
	deadline := time.Now().Add(pollFor)
	for wait := 10 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		if _, err := f.call(op, args); err != nil {
			return opFailure{err: err}
		}
		got := int64(binary.NativeEndian.Uint64(f.cell(cell)))
		switch {
		case got >= least:
			return opFailure{}
		case f.undo.GivenUp():
			return opFailure{err: plan.ErrCanceled}
		case time.Now().After(deadline):
			return opFailure{reason: fmt.Sprintf("it is %d after %v, and not %d: what was sent has not arrived", got, pollFor, least)}
		}
		time.Sleep(wait) //nolint:forbidigo // no descriptor tells that a number in a cell has grown
	}
}

// call makes the system call of an op, as tasks do theirs.
func (f *Files) call(op *program.Op, args [6]uint64) (int64, error) {
	for {
		got, err := postfork.Call(op.Nr, args)
		if op.Flags&program.FlagRetry == 0 || !errors.Is(err, unix.EINTR) || f.undo.GivenUp() {
			return got, err
		}
	}
}

// addMessage puts one message into the store.
func (f *Files) addMessage(op *program.Op) opFailure {
	slots := program.Int32sAt(f.plan.Arena.Base, f.plan.Arena.Data(), op.Args[0], int(op.Args[1]))
	fds := make([]int, len(slots))
	for i, s := range slots {
		fds[i] = f.slots[s].fd
	}
	return opFailure{err: f.store.add(int(op.Args[2]), fds)}
}

// foundProgram is the result of the search for a program.
type foundProgram struct {
	addr uint64 // of its path
	err  error
}

// find looks a program up, with the rights that the task will have: once for all
// tasks that look for it at the same places.
func (f *Files) find(op *program.Op) opFailure {
	found, known := f.found[op.Args[0]]
	if !known {
		found = f.findAmong(program.WordsAt(f.plan.Arena.Base, f.plan.Arena.Data(), op.Args[0], int(op.Args[1])))
		f.found[op.Args[0]] = found
	}
	if found.err == nil {
		binary.NativeEndian.PutUint64(f.arena.Bytes()[op.Args[2]-f.arena.Base:], found.addr)
	}
	return opFailure{err: found.err}
}

// findAmong gives the first of the places, by address, where a program is.
func (f *Files) findAmong(places []uint64) foundProgram {
	i, err := host.FirstProgram(f.opener, len(places), func(i int) string { return host.StringAt(f.plan, places[i]) })
	if err != nil {
		return foundProgram{err: err}
	}
	return foundProgram{addr: places[i]}
}
