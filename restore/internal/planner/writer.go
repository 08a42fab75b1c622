package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// writer appends ops with notes to a program. The fields say what the ops that
// follow are for.
type writer struct {
	pl   *planner
	prog program.Program
	pos  tasktree.Pos
	verb program.Verb
	fd   int // NoFD if none
	file int // NoFile if none
	end  int

	lenient bool // ops note a failure, and the task goes on
}

// about sets what the following ops are for.
func (w *writer) about(verb program.Verb, pos tasktree.Pos) {
	w.verb, w.pos, w.fd, w.file, w.end = verb, pos, program.NoFD, program.NoFile, 0
}

// aboutDescriptor does the same for one descriptor.
func (w *writer) aboutDescriptor(verb program.Verb, d *tasktree.Descriptor) {
	w.verb, w.pos, w.fd, w.file, w.end = verb, d.Pos, d.FD, d.Open.Index, d.End
}

// add appends an op and gives it to set whatever is not the usual.
func (w *writer) add(kind program.OpKind, args ...uint64) *program.Op {
	op := program.Op{Kind: kind, Out: program.NoSlot}
	if w.lenient {
		op.Flags |= program.FlagNote
	}
	copy(op.Args[:], args)
	w.prog.Ops = append(w.prog.Ops, op)
	w.prog.Notes = append(w.prog.Notes, program.Note{
		Line: int32(w.pos.Line), Col: int32(w.pos.Col),
		FD: int32(w.fd), File: int32(w.file), End: int8(w.end), Verb: w.verb,
	})
	return &w.prog.Ops[len(w.prog.Ops)-1]
}

// note gives the note of the op that was added last.
func (w *writer) note() *program.Note { return &w.prog.Notes[len(w.prog.Notes)-1] }

// call appends a system call.
func (w *writer) call(nr uint32, args ...uint64) *program.Op {
	op := w.add(program.OpCall, args...)
	op.Nr = nr
	op.Flags |= retry(nr)
	if nr == unix.SYS_CLOSE {
		op.Allow = uint16(unix.EINTR) // of what the file's last writes met; the number is free all the same, see close(2)
	}
	return op
}

// retry gives FlagRetry for calls that a signal can interrupt and that have done
// nothing then. Without a handler, too: a stop, a freezer or a debugger is enough where
// the kernel waits for a lock or for room in a queue (setsockopt, sendmsg), or a network
// or FUSE server lets a call be interrupted (the others).
//
// A call that is not here answers no EINTR, or must not be made again: dup3 for one has
// freed the number by then, as close has.
func retry(nr uint32) program.OpFlags {
	switch nr {
	case unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_CHDIR, unix.SYS_EXECVE, unix.SYS_WRITE, unix.SYS_SENDMSG, unix.SYS_SETSOCKOPT:
		return program.FlagRetry
	}
	return 0
}

// recipe appends a call of a recipe; setRef puts in what an earlier call has
// given.
func (w *writer) recipe(kind program.OpKind, c tasktree.Call, setRef func(op *program.Op, i int, ref tasktree.Ref)) *program.Op {
	op := w.add(kind)
	op.Nr = uint32(c.Nr)
	if kind == program.OpCall {
		op.Flags |= retry(op.Nr)
	}
	for i, a := range c.Args {
		switch a.Kind {
		case tasktree.ArgInt:
			op.Args[i] = uint64(a.Int)
		case tasktree.ArgData:
			op.Args[i] = w.pl.plan.Arena.Bytes(a.Data)
		case tasktree.ArgRef:
			setRef(op, i, a.Ref)
		case tasktree.ArgPair:
			op.Args[i] = w.pl.plan.Arena.Private() + program.PrivPair
		}
	}
	if c.HasWant {
		w.want(op, c.Want)
	}
	w.note().Extra = w.pl.extra(plan.Extra{Name: c.Name, Short: c.Short, Hints: c.Hints})
	return op
}

// look appends the safe open of a path as a mere place; flags are O_NOFOLLOW and
// O_DIRECTORY.
func (w *writer) look(path string, flags int) *program.Op {
	a := w.pl.plan.Arena
	flags |= unix.O_PATH | unix.O_CLOEXEC
	if w.pl.plan.Host.OldOpen {
		return w.call(unix.SYS_OPENAT, atFDCWD(), a.String(path), uint64(flags))
	}
	return w.call(unix.SYS_OPENAT2, atFDCWD(), a.String(path), w.pl.how(flags), unix.SizeofOpenHow)
}

// reopenAt appends the second open of a path, with O_NOFOLLOW among the flags. The
// third argument, what was opened first, is left to set.
func (w *writer) reopenAt(path string, flags int, link uint64) *program.Op {
	op := w.add(program.OpReopenAt, w.pl.plan.Arena.String(path), w.pl.how(flags|unix.O_NONBLOCK), 0, link)
	if flags&unix.O_NONBLOCK != 0 {
		op.Flags |= program.FlagNonblock
	}
	return op
}

// how gives the address of a struct open_how for openat2(2). Where that is refused it
// has no RESOLVE_ flags, and the ops that take one use openat(2).
func (pl *planner) how(flags int) uint64 {
	resolve := uint64(safepath.Resolve)
	if pl.plan.Host.OldOpen {
		resolve = 0
	}
	return pl.plan.Arena.Words([]uint64{uint64(flags), 0, resolve})
}

// want makes the op that was added last demand a result.
func (w *writer) want(op *program.Op, result int64) {
	op.Flags |= program.FlagWant
	op.Want = result
}

// numberHint explains EBADF and EMFILE, which the kernel answers for a number
// that is too high for the limit.
func (w *writer) numberHint() {
	if w.pl.numberHint == 0 {
		w.pl.numberHint = w.pl.extra(plan.Extra{Hints: []tasktree.Hint{
			{Errno: int(unix.EBADF), Text: "the number is not below the task's RLIMIT_NOFILE"},
			{Errno: int(unix.EMFILE), Text: "the task's RLIMIT_NOFILE leaves no room for one more"},
		}})
	}
	w.note().Extra = w.pl.numberHint
}

// forkHint explains what the kernel answers to clone3.
func (pl *planner) forkHint() int32 {
	if pl.forkHints == 0 {
		pl.forkHints = pl.extra(plan.Extra{Hints: []tasktree.Hint{
			{Errno: int(unix.EINVAL), Text: "an exact pid must be below kernel.pid_max"},
			{Errno: int(unix.EPERM), Text: "an exact pid needs CAP_CHECKPOINT_RESTORE, in the user namespace of its pid namespace"},
			{Errno: int(unix.EAGAIN), Text: "RLIMIT_NPROC, kernel.pid_max, kernel.threads-max or pids.max of the cgroup is reached"},
		}})
	}
	return pl.forkHints
}

// atFDCWD is AT_FDCWD as an argument.
func atFDCWD() uint64 {
	cwd := int64(unix.AT_FDCWD)
	return uint64(cwd)
}
