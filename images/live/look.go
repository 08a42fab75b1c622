package live

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// Options say what to read. The zero value reads everything but environments.
type Options struct {
	// Wants reports whether anybody asks for a key of a kind of open file ("pipe",
	// "content"), or of a task ("task", "env"). nil: every key but env, which may
	// hold secrets, and those that a description has only of what is made.
	Wants func(of, key string) bool

	// Own are descriptors of this process, by any names: for each it is found which
	// open file of the tree it is, if it is one. They stay open, and the caller's.
	// See [Seen.Identify]; with the keys of a description's inherits, [Compare].
	Own map[string]int
}

func (o *Options) wants(of, key string) bool {
	if o.Wants == nil {
		return (of != ofTask || key != "env") && !kind.OnlyMade(of, key)
	}
	return o.Wants(of, key)
}

const ofTask = "task" // stands for a task in [Options.Wants]

// Seen is a live tree as it was read.
type Seen struct {
	// Tree has the tasks in the order in which their parents made them, and their
	// open files in the order of the descriptors. What no kind of this version can
	// say is an inherit with a key of its own.
	Tree *tasktree.Tree

	// Processes are those of Tree.Tasks, with the same index.
	Processes []Process

	// Unseen is what could not be seen.
	Unseen []Unseen

	tables  []*table
	entries []*entry
	procs   []*process     // those of Processes
	own     map[string]int // Options.Own
}

// Process is the process of a task.
type Process struct {
	PID   int    // in the caller's pid namespace
	Comm  string // its name, of at most 15 bytes
	Args  []string
	Ended bool // it has ended, and nobody has waited for it
}

// Unseen is something that could not be seen.
type Unseen struct {
	PID int    // of the process that it is about
	FD  int    // of a descriptor, else -1
	Key string // "fds", "cwd", "content", "sharing"
	Why string // "readlink /proc/7/cwd: permission denied"

	Always bool // nobody can see it, with whatever rights
}

// ErrGone says that there is no process with this number. It matches
// [os.ErrNotExist].
var ErrGone = fmt.Errorf("no such process: %w", os.ErrNotExist)

// Look reads the tree of a process and everything below it.
//
// The error matches [ErrGone] if the process is not there, and [os.ErrPermission] if
// it is there and hidden; of one below it the same is no error. Other errors say that
// /proc cannot be used at all, or that one of Options.Own is not open.
func Look(pid int, o Options) (*Seen, error) {
	if err := proc.Usable(); err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	root, err := proc.Look(pid)
	switch {
	case errors.Is(err, proc.ErrHidden):
		return nil, fmt.Errorf("live: process %d: %w", pid, err)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("live: process %d: %w", pid, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("live: %w", err)
	}
	l := &look{options: o, seen: &Seen{own: o.Own}}
	defer l.close()
	l.walk(root)
	for _, p := range l.seen.procs {
		l.task(p)
	}
	l.tables()
	l.classes()
	if err := l.callers(); err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	l.entries()
	l.tree()
	return l.seen, nil
}

// look is a look under way.
type look struct {
	options Options
	seen    *Seen
	buckets map[hash]*bucket
	pipe    *pipe // for tee, nil: none was needed yet
	page    *pipe // for the first page of another one
	memory  memoryMounts

	sockets *sockets // nil: nobody has asked
	tokens  []*class // open files that kinds have met, see token
}

func (l *look) close() {
	l.pipe.close()
	l.page.close()
}

func (l *look) unseen(p *process, fd int, key, format string, args ...any) {
	l.seen.Unseen = append(l.seen.Unseen, Unseen{PID: p.PID, FD: fd, Key: key, Why: fmt.Sprintf(format, args...)})
}

// gone reports whether an error says that a process or a descriptor has ended.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EBADF)
}

// process is a process of the tree.
type process struct {
	proc.Status
	index    int // in Seen.procs
	parent   *process
	children []*process
	args     []string
	pids     []int // its numbers, from the caller's pid namespace down
	cwd      string
	env      []string
	attrs    []tasktree.Attribute // what it shows of those that are wanted
	table    *table
	task     *tasktree.Task
}

// passes is how often the children of the tree are listed at most, where some have
// gone meanwhile and may have hidden others.
const passes = 3

// walk finds the processes, a parent before its children and these in their order.
func (l *look) walk(root proc.Status) {
	for range passes {
		l.seen.procs, l.seen.Unseen = nil, nil
		if l.below(&process{Status: root}) == 0 {
			return
		}
	}
}

// below adds a process and all below it, and counts what has gone meanwhile.
func (l *look) below(root *process) (missed int) {
	stack := []*process{root}
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		p.index = len(l.seen.procs)
		l.seen.procs = append(l.seen.procs, p)
		if p.Ended() {
			continue
		}
		for _, pid := range proc.ChildPIDs(p.Status) {
			s, err := proc.Look(pid)
			switch {
			case errors.Is(err, proc.ErrHidden):
				l.unseen(p, -1, "children", "child %d: %v", pid, err)
			case err != nil || s.Parent != p.PID:
				missed++
			default:
				p.children = append(p.children, &process{Status: s, parent: p})
			}
		}
		for _, child := range slices.Backward(p.children) {
			stack = append(stack, child)
		}
	}
	return missed
}

// task reads what belongs to one process.
func (l *look) task(p *process) {
	if p.Ended() {
		return
	}
	var err error
	lost := func(key string, err error) {
		if err != nil && !gone(err) {
			l.unseen(p, -1, key, "%v", err)
		}
	}
	if p.args, err = arguments(p.PID); err != nil {
		lost("run", err)
	}
	p.pids, err = proc.PIDs(p.PID)
	lost("pid", err)
	if l.options.wants(ofTask, "cwd") {
		p.cwd, err = proc.Cwd(p.PID)
		lost("cwd", err)
	}
	if l.options.wants(ofTask, "env") {
		p.env, err = proc.Environment(p.PID)
		lost("env", err)
	}
	for _, k := range tasktree.AttributeKinds() {
		if k.New == nil || !l.options.wants(ofTask, k.Keys[0]) {
			continue
		}
		a := k.New()
		if r, ok := a.(tasktree.ReadableAttribute); ok {
			if err := r.Read(liveTask(p.PID)); err != nil {
				lost(a.Key(), err)
				continue
			}
			p.attrs = append(p.attrs, a)
		}
	}
}

// arguments gives the argument list of a process. One that is becoming another program
// has none for a moment: execve(2) closes descriptors before the new list is there.
func arguments(pid int) (args []string, err error) {
	const tries = 50
	for range tries {
		if args, err = proc.Arguments(pid); err != nil || len(args) > 0 {
			break
		}
		if s, err := proc.Stat(pid); err != nil || s.Ended() {
			break
		}
		time.Sleep(100 * time.Microsecond) //nolint:forbidigo // nothing tells that an execve of another process is done
	}
	return args, err
}

// liveTask is a task by its pid.
type liveTask int

var _ tasktree.LiveTask = liveTask(0)

// Status implements [tasktree.LiveTask].
func (pid liveTask) Status(field string) (string, error) { return proc.StatusField(int(pid), field) }

// Nice implements [tasktree.LiveTask].
func (pid liveTask) Nice() (int, error) {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, int(pid))
	return 20 - raw, os.NewSyscallError("getpriority", err) // raw: so that it is no errno
}

// held gives the name of a task that holds, as regrow has left it: its argument list is
// its name, its comm the beginning of that, and its program another one.
func (p *process) held() (name string, ok bool) {
	if len(p.args) != 1 || p.args[0] == "" || p.Name != comm(p.args[0]) {
		return "", false
	}
	exe, err := proc.Program(p.PID)
	return p.args[0], err != nil || !isProgram(exe, p.args[0])
}
