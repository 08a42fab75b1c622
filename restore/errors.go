package restore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// HostError says that the kernel, or the privileges of the caller, lack what the
// description needs. Nothing was started.
type HostError struct {
	Source string // name of the description, as messages show it
	Lacks  []Lack // sorted by position, at least one
}

// Lack is one thing that a line of the description needs and this host lacks.
type Lack struct {
	Pos tasktree.Pos // that needs it
	Msg string       // for what it is needed, why it is not there, and the way around
	Err error        // what the kernel answered; may be nil

	cause error // of which Msg has the words
}

// Error gives one line for each lack, "SOURCE:LINE:COL: host: MESSAGE".
func (e *HostError) Error() string {
	lines := make([]string, len(e.Lacks))
	for i, l := range e.Lacks {
		lines[i] = tasktree.At(e.Source, l.Pos) + ": host: " + l.Msg
		if l.Err != nil {
			lines[i] += ": " + l.Err.Error()
		}
	}
	return strings.Join(lines, "\n")
}

// JoinLacks gives one error for all that two errors of [CheckHost] and [CheckPaths] say:
// a [*HostError], nil if there is nothing, or both joined if one is none of these.
func JoinLacks(a, b error) error {
	x, aOK := errors.AsType[*HostError](a)
	y, bOK := errors.AsType[*HostError](b)
	if !aOK || !bOK {
		return errors.Join(a, b)
	}
	all := slices.Concat(x.Lacks, y.Lacks)
	sortLacks(all)
	return &HostError{x.Source, all}
}

// Unwrap gives the reasons.
func (e *HostError) Unwrap() []error {
	var reasons []error
	for _, l := range e.Lacks {
		for _, err := range []error{l.Err, l.cause} {
			if err != nil {
				reasons = append(reasons, err)
			}
		}
	}
	return reasons
}

// OpError says which step of a restore failed: for whom, for which descriptor,
// which call, and why. The tree has been ended and nothing of it is left.
type OpError struct {
	Source string
	Pos    tasktree.Pos
	Task   string // "" if the runner itself failed, and not for one task
	PID    int    // of the task, in the tree's pid namespace; 0 if there was none yet
	What   string // what the step was for: `install fd 5 from file "log"`
	Call   string // "dup3", `openat "/tmp/x"`
	Reason string // beyond Err, "" if none
	Err    error  // the errno; may be nil

	path bool // it is about a path, a folder or a program
}

// Error gives the whole message, outermost context first.
func (e *OpError) Error() string {
	parts := []string{tasktree.At(e.Source, e.Pos), "restore"}
	if e.Task != "" {
		who := fmt.Sprintf("task %q", e.Task)
		if e.PID > 0 {
			who += fmt.Sprintf(" (pid %d)", e.PID)
		}
		parts = append(parts, who)
	}
	for _, part := range []string{e.What, e.Call} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	switch {
	case e.Err == nil:
		parts = append(parts, e.Reason)
	case e.Reason == "":
		parts = append(parts, e.Err.Error())
	default:
		parts = append(parts, e.Err.Error()+" ("+e.Reason+")")
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the errno.
func (e *OpError) Unwrap() error { return e.Err }

// ErrAnotherProcess says that a path of the description would mean another file, folder
// or program for each process that opens it: its way goes through a magic link of
// procfs, or it is a process's own entry there, or the controlling terminal.
var ErrAnotherProcess = safepath.ErrAnother

// Errors of [Start] that are no fault of one step.
var (
	// ErrTimeout says that the tree was not released in time.
	ErrTimeout = errors.New("timed out before release")
	// ErrCanceled says that the context ended before release.
	ErrCanceled = errors.New("canceled before release")
	// ErrTaskDied says that a task, or a helper of one, was killed from outside
	// before release.
	ErrTaskDied = errors.New("died before release")
)

// opError explains the failure of one op. task is -1 for the runner.
func (p *Plan) opError(task int, prog *program.Program, i int, pid int, err error, reason string) *OpError {
	op, note := &prog.Ops[i], prog.Notes[i]
	e := &OpError{
		Source: p.tree.Source,
		Pos:    tasktree.Pos{Line: int(note.Line), Col: int(note.Col)},
		What:   p.what(op, note),
		Call:   p.callName(op, note),
		Reason: reason,
		Err:    err,
		PID:    pid,
		path:   p.extras[note.Extra].path != "" && note.Verb != program.VerbMap,
	}
	if task >= 0 {
		e.Task = p.tree.Tasks()[task].Name
	} else if note.Verb == program.VerbMake && !p.tree.Files[note.File].Shared() {
		e.Task = p.tree.Files[note.File].Uses[0].Task.Name // that it is made for
	}
	if task < 0 && errors.Is(err, unix.EMFILE) && reason == "" {
		e.Reason = fmt.Sprintf("%d open files of the tree are open here at once, and the hard RLIMIT_NOFILE is %d: "+
			"raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE", len(p.slotsOf), p.host.HardFiles)
	}
	if err != nil && reason == "" {
		e.Reason, e.Err = p.explain(op, err)
	}
	if why, ok := errors.AsType[safepath.Another](e.Err); ok {
		e.Reason = why.Why()
	}
	if errno, ok := errors.AsType[unix.Errno](e.Err); ok {
		for _, h := range p.extras[note.Extra].hints {
			if h.Errno == int(errno) && e.Reason == "" {
				e.Reason = h.Text
			}
		}
	}
	return e
}

// reason turns what an op recorded into an error and the words beside it.
func (p *Plan) reason(op *program.Op, note program.Note, errno int32, got int64) (words string, err error) {
	switch errno {
	case program.ReasonUnwanted:
		if short := p.extras[note.Extra].short; short != "" {
			return fmt.Sprintf("%s (%d instead of %d)", short, got, op.Want), nil
		}
		return fmt.Sprintf("the result is %d, and the plan needs %d", got, op.Want), nil
	case program.ReasonFIFO:
		return aFIFO, nil
	case program.ReasonSocket:
		return aSocket, nil
	case program.ReasonProcess:
		return "", safepath.Process
	case program.ReasonTerminal:
		return "", safepath.Terminal
	case program.ReasonChanged:
		return changed, nil
	case program.ReasonSpecial:
		return "", errSpecial
	case program.ReasonForeign:
		return "the store does not deliver this message", nil
	case program.ReasonHelper:
		return "a process that forks beside the task was killed", ErrTaskDied
	case program.ReasonCanceled:
		return "", ErrCanceled
	}
	return "", unix.Errno(errno)
}

// Reasons that tasks and the runner share.
const (
	aFIFO      = "the path is a FIFO; opening it would block, or wake its other side"
	aSocket    = "the path is a socket, which open(2) cannot open"
	mustCreate = "O_EXCL and content need a file that the restore makes"
	changed    = "the path was given to another file while it was being opened"
)

// what says in words what an op is for.
func (p *Plan) what(op *program.Op, n program.Note) string {
	file := ""
	if n.File != program.NoFile {
		file = p.tree.Files[n.File].EndName(int(n.End))
	}
	switch n.Verb {
	case program.VerbSetUp:
		return "set up"
	case program.VerbFork:
		return "fork"
	case program.VerbPull:
		if p.options.Strategy == StrategyService {
			return fmt.Sprintf("pop file %q", file)
		}
		return "pull " + p.messageFiles(p.messageOf(op))
	case program.VerbMake:
		name := p.tree.Files[n.File].Name
		if n.FD == program.NoFD {
			return fmt.Sprintf("make file %q", name)
		}
		return fmt.Sprintf("make file %q for fd %d", name, n.FD)
	case program.VerbInstall:
		return fmt.Sprintf("install fd %d from file %q", n.FD, file)
	case program.VerbMove:
		return fmt.Sprintf("clear fd %d", n.FD)
	case program.VerbClose:
		return "close helpers"
	case program.VerbLimit:
		return "set RLIMIT_NOFILE"
	case program.VerbWay, program.VerbChdir:
		return "change folder"
	case program.VerbName:
		return "set name"
	case program.VerbReady:
		return "wait for release"
	case program.VerbExec:
		return "run"
	case program.VerbHold:
		return "hold"
	case program.VerbAdd:
		return "put " + p.messageFiles(int(op.Args[2])) + " into the store"
	case program.VerbLend:
		return fmt.Sprintf("lend file %q to the root", file)
	case program.VerbMeet:
		return "meet the other tasks of the table"
	case program.VerbChannel:
		return "open a channel to the service"
	case program.VerbHelper:
		return "a helper of its own in the shared table"
	case program.VerbFind:
		return "look up program"
	case program.VerbMap:
		return "map the user to 0"
	case program.VerbTruncate:
		return fmt.Sprintf("truncate file %q", file)
	}
	return ""
}

// messageFiles names what is in a message of the store.
func (p *Plan) messageFiles(id int) string {
	if id < 0 {
		return "a shard of the store"
	}
	m := p.messages[id]
	if len(m) == 1 {
		return fmt.Sprintf("file %q", p.tree.Files[m[0].file].EndName(int(m[0].end)))
	}
	return fmt.Sprintf("%d files", len(m))
}

// callName names the call of an op, with the path that it is about.
func (p *Plan) callName(op *program.Op, n program.Note) string {
	x := p.extras[n.Extra]
	name := x.name
	if name == "" {
		name = opName(op)
	}
	if x.path != "" {
		name += fmt.Sprintf(" %q", x.path)
	}
	return name
}
