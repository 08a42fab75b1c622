package words

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// Failed is a failed op.
type Failed struct {
	Task    int // index of the task; -1: the runner
	Prog    *program.Program
	Op      int
	PID     int    // of the task, 0 if it has none yet
	Err     error  // may be nil
	Reason  string // in addition to Err, "" if none
	Explain explain
}

// explain examines the file system to find out what the error of an op that opens a path
// meant. It returns a reason, "" for none, and the error or a better one.
type explain func(p *plan.Plan, op *program.Op, err error) (words string, why error)

// OpError makes the error for a failed op.
func OpError(p *plan.Plan, f Failed) *plan.OpError {
	op, note := &f.Prog.Ops[f.Op], f.Prog.Notes[f.Op]
	e := &plan.OpError{
		Source: p.Tree.Source,
		Pos:    tasktree.Pos{Line: int(note.Line), Col: int(note.Col)},
		What:   What(p, op, note),
		Call:   CallName(p, op, note),
		Reason: f.Reason,
		Err:    f.Err,
		PID:    f.PID,

		AboutPath: p.Extras[note.Extra].Path != "" && note.Verb != program.VerbMap,
	}
	if f.Task >= 0 {
		e.Task = p.Tree.Tasks()[f.Task].Name
	} else if note.Verb == program.VerbMake || note.Verb == program.VerbBench {
		if made := p.Tree.Files[note.File]; len(made.Uses) > 0 && !made.Shared() {
			e.Task = made.Uses[0].Task.Name // the only task that uses the file
		}
	}
	if f.Task < 0 && errors.Is(f.Err, unix.EMFILE) && f.Reason == "" {
		e.Reason = fmt.Sprintf("this process has %d open files of the tree open at once, and the hard RLIMIT_NOFILE is %d: "+
			"raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE", len(p.SlotsOf), p.Host.HardFiles)
	}
	if f.Err != nil && f.Reason == "" {
		words, err := f.Explain(p, op, f.Err)
		if e.Err = err; words != "" {
			e.Reason = words
		}
	}
	if why, ok := errors.AsType[safepath.Another](e.Err); ok {
		e.Reason = why.Why()
	}
	if errno, ok := errors.AsType[unix.Errno](e.Err); ok {
		for _, h := range p.Extras[note.Extra].Hints {
			if h.Errno == int(errno) && e.Reason == "" {
				e.Reason = h.Text
			}
		}
	}
	return e
}

// ProgramError makes the error for a failed op that looks up or executes a task's program.
func ProgramError(p *plan.Plan, f Failed) error {
	if f.Prog.Notes[f.Op].Verb == program.VerbFind { // execve answers EACCES for these
		switch {
		case errors.Is(f.Err, unix.EISDIR):
			f.Err, f.Reason = unix.EACCES, "a directory"
		case errors.Is(f.Err, plan.ErrSpecial):
			f.Err, f.Reason = unix.EACCES, plan.NoRegular
		}
	}
	return &plan.ProgramError{OpError: OpError(p, f)}
}

// Reason returns the error that an op has recorded, and words that explain it.
func Reason(p *plan.Plan, op *program.Op, note program.Note, errno int32, got int64) (words string, err error) {
	switch errno {
	case program.ReasonUnwanted:
		if short := p.Extras[note.Extra].Short; short != "" {
			return fmt.Sprintf("%s (%d instead of %d)", short, got, op.Want), nil
		}
		return fmt.Sprintf("the result is %d, not the planned %d", got, op.Want), nil
	case program.ReasonFIFO:
		return AFIFO, nil
	case program.ReasonSocket:
		return ASocket, nil
	case program.ReasonProcess:
		return "", safepath.Process
	case program.ReasonTerminal:
		return "", safepath.Terminal
	case program.ReasonChanged:
		return Changed, nil
	case program.ReasonSpecial:
		return "", plan.ErrSpecial
	case program.ReasonForeign:
		return "the store does not deliver this message", nil
	case program.ReasonHelper:
		if note.Verb != program.VerbFork {
			return "a process that should have ended by itself was killed", plan.ErrTaskDied
		}
		return "a fork helper of the task was killed", plan.ErrTaskDied
	case program.ReasonCanceled:
		return "", plan.ErrCanceled
	}
	return "", unix.Errno(errno)
}

// Reasons that are common to tasks and the runner.
const (
	AFIFO      = "the path is a FIFO; opening it would block, or wake a process at its other end; write type: fifo"
	NoFIFO     = "the path is not a FIFO"
	ASocket    = "the path is a socket, which open(2) cannot open"
	MustCreate = "O_EXCL, content and the other keys of a file that the restore makes require that nothing is at the path"
	Changed    = "the path was replaced by another file while it was being opened"
)

// What describes the purpose of an op, by the table of package program.
func What(p *plan.Plan, op *program.Op, n program.Note) string {
	return fill(n.Verb.Row().Words, func(word string) string {
		switch word {
		case "fd":
			return strconv.Itoa(int(n.FD))
		case "file":
			return strconv.Quote(p.Tree.Files[n.File].EndName(int(n.End)))
		case "entry":
			return strconv.Quote(p.Tree.Files[n.File].Name)
		case "for":
			if n.FD == program.NoFD {
				return ""
			}
			return fmt.Sprintf(" for fd %d", n.FD)
		case "pull":
			if p.Options.Strategy == plan.StrategyService {
				return fmt.Sprintf("pop file %q", p.Tree.Files[n.File].EndName(int(n.End)))
			}
			return "pull " + messageFiles(p, p.MessageOf(op))
		case "added":
			return messageFiles(p, int(op.Args[2]))
		}
		return "{" + word + "}"
	})
}

// messageFiles describes the content of a message of the store.
func messageFiles(p *plan.Plan, id int) string {
	if id < 0 {
		return "a shard of the store"
	}
	m := p.Messages[id]
	if len(m) == 1 {
		return fmt.Sprintf("file %q", p.Tree.Files[m[0].File].EndName(int(m[0].End)))
	}
	return fmt.Sprintf("%d files", len(m))
}

// CallName returns the name of an op's call, with the path that it opens.
func CallName(p *plan.Plan, op *program.Op, n program.Note) string {
	x := p.Extras[n.Extra]
	name := x.Name
	if name == "" {
		name = OpName(op)
	}
	if x.Path != "" {
		name += fmt.Sprintf(" %q", x.Path)
	}
	return name
}

// FailedOp describes an op of a task that fails with errno, which may be a reason of package
// program. It returns nil if errno is 0.
func FailedOp(p *plan.Plan, task, i int, errno unix.Errno) *plan.FailedOp {
	if errno == 0 {
		return nil
	}
	op, note := &p.Tasks[task].Ops[i], p.Tasks[task].Notes[i]
	why, err := Reason(p, op, note, int32(errno), 0)
	if err != nil {
		why = err.Error()
	}
	return &plan.FailedOp{Op: i, What: What(p, op, note) + ": " + Call(p, op, note), Line: int(note.Line), Why: why}
}
