package runner

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// prepare makes the open files, fills the store and looks programs up. An open
// may block without end (a lease of another process, a dead file server), so the
// context and the timeout are looked at meanwhile.
func (r *run) prepare(ctx context.Context) error {
	prepared := make(chan error, 1)
	go func() { prepared <- r.makeAndFind() }()
	var late <-chan time.Time
	if r.options.Timeout > 0 {
		timer := time.NewTimer(time.Until(r.deadline))
		defer timer.Stop()
		late = timer.C
	}
	var err error
	select {
	case err := <-prepared:
		return err
	case <-ctx.Done():
		err = r.errorf("%w: %w", plan.ErrCanceled, context.Cause(ctx))
	case <-late:
		err = r.errorf("%w, after %v: files are still being opened", plan.ErrTimeout, r.options.Timeout)
	}
	// Most ops do come back, and what they have made by then is removed. One
	// that does not has made nothing.
	const grace = 250 * time.Millisecond
	r.gaveUp.Store(true)
	select {
	case end := <-prepared:
		r.log.Debugf("after the restore was given up: %v", end)
	case <-time.After(grace):
		r.stuck = prepared
	}
	return err
}

// makeAndFind makes the open files and finds the programs. Tasks with other rights
// find theirs themselves: these are looked at when all are ready.
func (r *run) makeAndFind() error {
	r.found = map[uint64]foundProgram{}
	if err := r.carryOut(&r.plan.Prepare); err != nil {
		return err
	}
	if r.plan.Tree.HasNamespace(tasktree.NamespaceUser) {
		return nil
	}
	return r.checkPrograms()
}

// checkPrograms looks at the programs that have been found.
func (r *run) checkPrograms() error {
	if r.plan.Held == len(r.plan.Tasks) {
		return nil
	}
	done := r.trace.Stage("look at the programs")
	defer done()
	c := host.NewProgramCheck(r.plan, func(of plan.FileEnd) (int, bool) {
		slot, ok := r.plan.SlotsOf[of]
		if !ok || !r.slots[slot].open {
			return -1, false
		}
		return r.slots[slot].fd, true
	})
	base, data := r.plan.Arena.Base, r.plan.Arena.Data()
	return plan.JoinPaths(c.Check(func(cell uint64) (string, bool) {
		return program.StringAt(base, data, binary.NativeEndian.Uint64(r.arena.Bytes()[cell-base:]))
	}))
}

// opFailure is an error of an op of the runner's own, before it gets its place
// in the description.
type opFailure struct {
	err    error
	reason string
}

// carryOut runs ops that belong to the runner: it opens the shared files, fills
// the store, looks up programs, and truncates at the commit point.
func (r *run) carryOut(prog *program.Program) error {
	for i := range prog.Ops {
		if r.gaveUp.Load() {
			return plan.ErrCanceled
		}
		op := &prog.Ops[i]
		done := r.trace.Step(prog, i)
		got, f := r.step(op)
		if op.Flags&program.FlagUndo != 0 && f.err == nil && f.reason == "" {
			f.err = r.undo(r.plan.Extras[prog.Notes[i].Extra].Path)
		}
		done()
		if f.err == nil && f.reason == "" && op.Flags&program.FlagWant != 0 && got != op.Want {
			f.reason, _ = words.Reason(r.plan, op, prog.Notes[i], program.ReasonUnwanted, got)
		}
		if op.Allow != 0 && errors.Is(f.err, unix.Errno(op.Allow)) {
			f.err = nil
		}
		if f.err != nil || f.reason != "" {
			task := -1
			if whose, ok := prog.Notes[i].For(op); ok {
				task = whose
			}
			failed := words.Failed{Task: task, Prog: prog, Op: i, Err: f.err, Reason: f.reason, Explain: host.ExplainPath}
			if prog.Notes[i].Verb == program.VerbFind {
				return words.ProgramError(r.plan, failed)
			}
			e := words.OpError(r.plan, failed)
			if fe, ok := errors.AsType[*fdstore.FileError](f.err); ok {
				// Which file it is says more than which message.
				of := r.plan.Messages[op.Args[2]][fe.Index]
				file := r.plan.Tree.Files[of.File]
				e.Pos, e.What, e.Err = file.Pos, fmt.Sprintf("put file %q into the store", file.EndName(int(of.End))), fe.Err
			}
			return e
		}
		if op.Out != program.NoSlot && op.Kind != program.OpPair {
			r.slots[op.Out] = slot{fd: int(got), open: true, borrowed: op.Kind == program.OpCaller}
		}
	}
	return nil
}

// step runs one op and gives its result.
func (r *run) step(op *program.Op) (int64, opFailure) {
	args := op.Args
	for i := range args {
		switch op.Mode(i) {
		case program.ModeSlot:
			args[i] = uint64(r.slots[args[i]].fd)
		case program.ModeLoad:
			args[i] = binary.NativeEndian.Uint64(r.arena.Bytes()[args[i]-r.arena.Base:])
		}
	}
	switch op.Kind {
	case program.OpCall:
		got, err := r.call(op, args)
		if op.Nr == unix.SYS_CLOSE && op.Mode(0) == program.ModeSlot {
			r.slots[op.Args[0]].open = false
		}
		return got, opFailure{err: err}
	case program.OpPair:
		if _, err := postfork.Call(op.Nr, args); err != nil {
			return 0, opFailure{err: err}
		}
		pair := r.arena.PrivateBytes()[program.PrivPair:]
		for i := range 2 {
			r.slots[int(op.Out)+i] = slot{fd: int(int32(binary.NativeEndian.Uint32(pair[4*i:]))), open: true}
		}
		return 0, opFailure{}
	case program.OpRefuse:
		return 0, r.refuse(int(args[0]), recipe.FileTypes(args[1]))
	case program.OpReopen:
		fd, err := reopen(int(args[0]), int(args[1]))
		return int64(fd), opFailure{err: err}
	case program.OpReopenAt:
		path := host.StringAt(r.plan, args[0])
		return r.reopenAt(path, int(r.plan.HowFlags(args[1])), int(args[2]), op.Flags&program.FlagNonblock != 0)
	case program.OpWay:
		return 0, opFailure{err: r.way(host.StringAt(r.plan, args[0]), int(r.plan.HowFlags(args[1])))}
	case program.OpCreate:
		return r.create(op)
	case program.OpCaller:
		_, err := unix.FcntlInt(uintptr(args[0]), unix.F_GETFD, 0)
		return int64(args[0]), opFailure{err: err}
	case program.OpAdd:
		return 0, r.addMessage(op)
	case program.OpLend:
		return 0, opFailure{err: r.lend(op)}
	case program.OpFind:
		return 0, r.find(op)
	case program.OpTruncate:
		return 0, opFailure{err: truncate(int(args[0]))}
	case program.OpStore:
		binary.NativeEndian.PutUint32(r.arena.Bytes()[args[1]-r.arena.Base:], uint32(args[0]))
		return 0, opFailure{}
	case program.OpPoll:
		return 0, r.poll(op, args)
	default:
		return 0, opFailure{reason: fmt.Sprintf("bug: op kind %d is not the runner's", op.Kind)}
	}
}

// call makes the system call of an op, as tasks do theirs.
func (r *run) call(op *program.Op, args [6]uint64) (int64, error) {
	for {
		got, err := postfork.Call(op.Nr, args)
		if op.Flags&program.FlagRetry == 0 || !errors.Is(err, unix.EINTR) || r.gaveUp.Load() {
			return got, err
		}
	}
}

// addMessage puts one message into the store.
func (r *run) addMessage(op *program.Op) opFailure {
	slots := program.Int32sAt(r.plan.Arena.Base, r.plan.Arena.Data(), op.Args[0], int(op.Args[1]))
	fds := make([]int, len(slots))
	for i, s := range slots {
		fds[i] = r.slots[s].fd
	}
	return opFailure{err: r.store.add(int(op.Args[2]), fds)}
}

// foundProgram is what came of looking a program up.
type foundProgram struct {
	addr uint64 // of its path
	err  error
}

// find looks a program up, with the rights that the task will have: once for all
// tasks that look for it at the same places.
func (r *run) find(op *program.Op) opFailure {
	found, known := r.found[op.Args[0]]
	if !known {
		found = r.findAmong(program.WordsAt(r.plan.Arena.Base, r.plan.Arena.Data(), op.Args[0], int(op.Args[1])))
		r.found[op.Args[0]] = found
	}
	if found.err == nil {
		binary.NativeEndian.PutUint64(r.arena.Bytes()[op.Args[2]-r.arena.Base:], found.addr)
	}
	return opFailure{err: found.err}
}

// findAmong gives the first of the places, by address, where a program is.
func (r *run) findAmong(places []uint64) foundProgram {
	i, err := host.FirstProgram(r.opener, len(places), func(i int) string { return host.StringAt(r.plan, places[i]) })
	if err != nil {
		return foundProgram{err: err}
	}
	return foundProgram{addr: places[i]}
}

// truncate cuts a regular file; O_TRUNC has no effect on others.
func truncate(fd int) error {
	regular, err := truncates(fd)
	if err != nil || !regular {
		return err
	}
	return safepath.IgnoringEINTR(func() error { return unix.Ftruncate(fd, 0) })
}

// truncates reports whether a file is one that O_TRUNC cuts, and an error if the
// kernel would refuse that: append-only and immutable files, and memory files sealed
// against shrinking.
func truncates(fd int) (bool, error) {
	var st unix.Statx_t
	err := safepath.IgnoringEINTR(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE|unix.STATX_SIZE, &st)
	})
	switch {
	case err != nil:
		return false, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, nil
	case st.Attributes&(unix.STATX_ATTR_APPEND|unix.STATX_ATTR_IMMUTABLE) != 0:
		return false, unix.EPERM
	}
	// EINVAL: no file that has seals.
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil && seals&unix.F_SEAL_SHRINK != 0 && st.Size > 0 {
		return false, unix.EPERM
	}
	return true, nil
}

// checkCommit finds beforehand what would make the commit ops fail, since the
// first of them already changes files.
func (r *run) checkCommit() error {
	if r.plan.Tree.HasNamespace(tasktree.NamespaceUser) {
		if err := r.checkPrograms(); err != nil {
			return err
		}
	}
	prog := &r.plan.Commit
	for i := range prog.Ops {
		if prog.Ops[i].Kind != program.OpTruncate {
			continue
		}
		if _, err := truncates(r.slots[prog.Ops[i].Args[0]].fd); err != nil {
			return words.OpError(r.plan, words.Failed{Task: -1, Prog: prog, Op: i, Err: err, Explain: host.ExplainPath})
		}
	}
	return nil
}
