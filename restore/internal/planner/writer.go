package planner

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
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

// aboutFile does the same for an open file.
func (w *writer) aboutFile(verb program.Verb, pos tasktree.Pos, file int) {
	w.verb, w.pos, w.fd, w.file, w.end = verb, pos, program.NoFD, file, 0
}

// aboutDescriptor does the same for one descriptor.
func (w *writer) aboutDescriptor(verb program.Verb, d *tasktree.Descriptor) {
	w.verb, w.pos, w.fd, w.file, w.end = verb, d.Pos, d.FD, d.Open.Index, d.End
}

// At says what asks for the ops that follow, for recipes.
func (w *writer) At(pos tasktree.Pos) {
	if pos.IsValid() {
		w.pos = pos
	}
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
	w.note().Effect, _ = program.EffectOf(op)
	op.Flags |= program.Retry(nr)
	if nr == unix.SYS_CLOSE {
		op.Allow = uint16(unix.EINTR) // of what the file's last writes met; the number is free all the same, see close(2)
	}
	return op
}

// recipe appends a call of a recipe; setRef puts in what an earlier call has
// given, and gives the end of the file that it is.
func (w *writer) recipe(kind program.OpKind, c recipe.Call, setRef func(op *program.Op, i int, ref recipe.Ref) (end int)) *program.Op {
	structs := w.structs(c.Args, setRef)
	op := w.add(kind)
	op.Nr = uint32(c.Nr)
	if kind == program.OpCall {
		op.Flags |= program.Retry(op.Nr)
	}
	if c.Retry {
		op.Flags |= program.FlagRetry
	}
	op.Allow = uint16(c.Allow)
	var uses []plan.Use
	for i, a := range c.Args {
		switch a.Kind {
		case recipe.ArgInt:
			op.Args[i] = uint64(a.Int)
		case recipe.ArgData:
			op.Args[i] = w.pl.plan.Arena.Bytes(a.Data)
		case recipe.ArgFD:
			uses = plan.OwnUse(uses, i, setRef(op, i, a.Ref))
		case recipe.ArgPair:
			op.Args[i] = w.pl.plan.Arena.Private() + program.PrivPair
		case recipe.ArgCell:
			op.Args[i] = uint64(a.Cell)
			op.SetMode(i, program.ModeLoad)
		case recipe.ArgOut:
			op.Args[i] = uint64(a.Cell)
		case recipe.ArgStruct:
			op.Args[i] = structs[i]
		case recipe.ArgDescriptor:
			op.Args[i] = uint64(a.Int)
			uses = plan.OwnUse(uses, i, w.end)
		case recipe.ArgPointer:
			panic("restore: bug: a pointer is a part of a struct")
		case recipe.ArgTask:
			op.Args[i] = w.pid(a.Task)
			op.SetMode(i, program.ModeLoad32)
		}
	}
	if c.HasWant {
		w.want(op, c.Want)
	}
	w.note().Effect = plan.EffectOf(c.Effect)
	w.note().Extra = w.pl.extra(plan.Extra{Name: c.Name, Short: c.Short, Hints: c.Hints, Uses: uses, Folder: c.Folder})
	return op
}

// structs puts the structs among the arguments of a call into the arena, and gives
// their addresses, by argument. What is known only when the call is made is stored
// there by ops of its own, before.
func (w *writer) structs(args []recipe.Arg, setRef func(op *program.Op, i int, ref recipe.Ref) int) (at [6]uint64) {
	for i, a := range args {
		if a.Kind != recipe.ArgStruct {
			continue
		}
		data, later := recipe.Pack(a.Parts, w.pl.plan.Arena.Bytes)
		at[i] = w.pl.plan.Arena.Once(data)
		for _, part := range later {
			op := w.add(program.OpStore, 0, at[i]+uint64(part.Offset))
			switch part.Kind {
			case recipe.ArgFD:
				setRef(op, 0, part.Ref)
			case recipe.ArgTask:
				op.Args[0] = w.pid(part.Task)
				op.SetMode(0, program.ModeLoad32)
			default:
				op.Args[0] = uint64(part.Cell)
				op.SetMode(0, program.ModeLoad)
			}
		}
	}
	return at
}

// pid gives the address where the pid of a task is once that is forked.
func (w *writer) pid(task string) uint64 {
	return w.pl.plan.Arena.Record(w.pl.plan.Tree.TaskNamed(task).Index) + program.RecordPID
}

// message appends a message of a recipe.
func (w *writer) message(m recipe.Message, setRef func(op *program.Op, i int, ref recipe.Ref) int) {
	a := w.pl.plan.Arena
	var control uint64
	var length int
	if len(m.Files) > 0 {
		header := binary.NativeEndian.AppendUint64(nil, uint64(unix.CmsgLen(4*len(m.Files))))
		header = binary.NativeEndian.AppendUint32(header, unix.SOL_SOCKET)
		header = binary.NativeEndian.AppendUint32(header, unix.SCM_RIGHTS)
		parts := []recipe.Arg{recipe.Data(header)}
		for _, f := range m.Files {
			parts = append(parts, recipe.FD(f))
		}
		length = unix.CmsgSpace(4 * len(m.Files))
		parts = append(parts, recipe.Data(make([]byte, length-len(header)-4*len(m.Files))))
		control = w.structs([]recipe.Arg{recipe.Struct(parts...)}, setRef)[0]
	}
	var name uint64
	if len(m.Addr) > 0 {
		name = a.Bytes(m.Addr)
	}
	data := a.Words([]uint64{a.Bytes(m.Data), uint64(len(m.Data))})
	header := a.Words([]uint64{name, uint64(len(m.Addr)), data, 1, control, uint64(length), 0})
	w.recipe(program.OpCall, recipe.Call{
		Name: "sendmsg", Nr: unix.SYS_SENDMSG, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(m.To), recipe.Int(int64(header)), recipe.Int(int64(m.Flags | unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL))},
		Want: int64(len(m.Data)), HasWant: true, Short: "only a part of the message was taken", Hints: m.Hints, Folder: m.From,
	}, setRef)
}

// Has implements [recipe.Maker].
func (w *writer) Has(c recipe.Condition) bool { return w.pl.plan.Host.Holds(c) }

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
		w.pl.numberHint = w.pl.extra(plan.Extra{Hints: []recipe.Hint{
			{Errno: int(unix.EBADF), Text: "the number is not below the task's RLIMIT_NOFILE"},
			{Errno: int(unix.EMFILE), Text: "the task's RLIMIT_NOFILE leaves no room for one more"},
		}})
	}
	w.note().Extra = w.pl.numberHint
}

// forkHint explains what the kernel answers to clone3.
func (pl *planner) forkHint() int32 {
	if pl.forkHints == 0 {
		pl.forkHints = pl.extra(plan.Extra{Hints: []recipe.Hint{
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
