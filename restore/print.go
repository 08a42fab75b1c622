package restore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
	"regrow/tasktree"
)

// Picture is a plan in a form for programs: what WriteJSON writes.
type Picture struct {
	Version  int          `json:"version"` // 1
	Source   string       `json:"source"`
	StoreFD  int          `json:"store_fd"` // number of the store in the root, -1: none
	Messages [][]string   `json:"messages"` // the open files of each message, by position
	Prepare  []StepOfPlan `json:"prepare"`  // the runner's, before the first clone
	Commit   []StepOfPlan `json:"commit"`   // the runner's, when every task is ready
	Tasks    []TaskOfPlan `json:"tasks"`    // in the order of the description
}

// TaskOfPlan is what one task does.
type TaskOfPlan struct {
	Name   string       `json:"name"`
	Parent string       `json:"parent"`
	Line   int          `json:"line"`
	Steps  []StepOfPlan `json:"steps"`
}

// StepOfPlan is one op.
type StepOfPlan struct {
	Call string `json:"call"`           // with its arguments
	For  string `json:"for"`            // what it is for
	Line int    `json:"line"`           // of the description that asks for it, 0: none
	Want *int64 `json:"want,omitempty"` // the result that is demanded
	// Table has the descriptors that the op changed: the open file, with * if
	// it is close-on-exec, or "" for a number that is free now.
	Table map[int]string `json:"table,omitempty"`
}

// WriteJSON writes the plan as one JSON object, a [Picture].
func (p *Plan) WriteJSON(w io.Writer) error {
	picture, err := p.Picture()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(picture)
}

// Picture gives the plan for programs, with the tables of the model.
func (p *Plan) Picture() (*Picture, error) {
	pic := &Picture{Version: 1, Source: p.tree.Source, StoreFD: p.storeFD, Messages: [][]string{}}
	for _, m := range p.messages {
		var names []string
		for _, fe := range m {
			names = append(names, p.tree.Files[fe.file].EndName(int(fe.end)))
		}
		pic.Messages = append(pic.Messages, names)
	}
	pic.Prepare, pic.Commit = p.steps(&p.prepare), p.steps(&p.commit)
	for i, task := range p.tree.Tasks() {
		t := TaskOfPlan{Name: task.Name, Line: task.Pos.Line, Steps: p.steps(&p.tasks[i])}
		if task.Parent != nil {
			t.Parent = task.Parent.Name
		}
		pic.Tasks = append(pic.Tasks, t)
	}
	before := make([]map[int]string, len(p.tasks))
	err := p.simulate(func(task, op int, t *modelTable) {
		now := make(map[int]string, len(t.cells))
		for n, c := range t.cells {
			now[n] = p.cellName(c)
		}
		if before[task] == nil {
			before[task] = map[int]string{}
			if parent := p.tree.Tasks()[task].Parent; parent != nil {
				maps.Copy(before[task], before[parent.Index])
			}
		}
		pic.Tasks[task].Steps[op].Table = difference(before[task], now)
		before[task] = now
	})
	return pic, err
}

// difference gives what changed from one table to the next, nil for nothing.
func difference(before, now map[int]string) map[int]string {
	changed := map[int]string{}
	for n, what := range now {
		if before[n] != what {
			changed[n] = what
		}
	}
	for n := range before {
		if _, still := now[n]; !still {
			changed[n] = ""
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return changed
}

func (p *Plan) cellName(c cell) string {
	name := "[store]"
	if c.what != theStore {
		name = p.tree.Files[c.what.file].EndName(int(c.what.end))
	}
	if c.look {
		name = "(" + name + ")"
	}
	if c.cloexec {
		name += "*"
	}
	return name
}

func (p *Plan) steps(prog *program.Program) []StepOfPlan {
	steps := make([]StepOfPlan, len(prog.Ops))
	for i := range prog.Ops {
		op, note := &prog.Ops[i], prog.Notes[i]
		steps[i] = StepOfPlan{Call: p.callText(op, note), For: p.what(note), Line: int(note.Line)}
		if op.Flags&program.FlagWant != 0 && op.Kind != program.OpPair {
			steps[i].Want = &op.Want
		}
	}
	return steps
}

// WriteText writes the plan as a picture for people: for each task its ops, what
// they are for, the description's line, and the descriptors that each changes.
func (p *Plan) WriteText(w io.Writer) error {
	pic, err := p.Picture()
	if err != nil {
		return err
	}
	var text bytes.Buffer // its writes cannot fail
	tw := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintf(tw, "%s: %d tasks, %d messages in the store", pic.Source, len(pic.Tasks), len(pic.Messages))
	if pic.StoreFD >= 0 {
		_, _ = fmt.Fprintf(tw, ", the store at fd %d", pic.StoreFD)
	}
	_, _ = fmt.Fprintln(tw, "\n(* close-on-exec, (x) only looked at; the last column has the descriptors that a step changes)")
	for id, m := range pic.Messages {
		_, _ = fmt.Fprintf(tw, "message %d: %s\n", id, strings.Join(m, " "))
	}
	p.writeSteps(tw, "regrow, before the first clone", pic.Prepare)
	for _, t := range pic.Tasks {
		title := fmt.Sprintf("task %q, %s", t.Name, tasktree.At(pic.Source, tasktree.Pos{Line: t.Line}))
		if t.Parent != "" {
			title += fmt.Sprintf(", child of %q", t.Parent)
		}
		p.writeSteps(tw, title, t.Steps)
	}
	p.writeSteps(tw, "regrow, when every task is ready", pic.Commit)
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err = w.Write(text.Bytes())
	return err
}

func (p *Plan) writeSteps(w io.Writer, title string, steps []StepOfPlan) {
	if len(steps) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "\n%s\n", title)
	for _, s := range steps {
		line := "-"
		if s.Line > 0 {
			line = strconv.Itoa(s.Line)
		}
		call := s.Call
		if s.Want != nil {
			call += fmt.Sprintf(" = %d", *s.Want)
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", line, call, s.For, tableText(s.Table))
	}
}

// tableText shows changes of a table, not more than fit.
func tableText(changed map[int]string) string {
	const most = 8
	var parts []string
	for i, n := range slices.Sorted(maps.Keys(changed)) {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(changed)-most))
			break
		}
		what := changed[n]
		if what == "" {
			what = "-"
		}
		parts = append(parts, fmt.Sprintf("%d:%s", n, what))
	}
	return strings.Join(parts, " ")
}

// argText has how the arguments of a call are shown: n number, f flags of
// open(2), c such flags without an access mode, s string, - not at all.
var argText = map[uint32]string{
	unix.SYS_OPENAT: "-sf", unix.SYS_DUP3: "nnc", unix.SYS_CLOSE: "n", unix.SYS_CLOSE_RANGE: "nn",
	unix.SYS_FCNTL: "nnn", unix.SYS_LSEEK: "nnn", unix.SYS_CHDIR: "s", unix.SYS_PRCTL: "-s",
	unix.SYS_PIPE2: "-c", unix.SYS_RT_SIGACTION: "n", unix.SYS_WRITE: "n-n",
}

func (p *Plan) callText(op *program.Op, note program.Note) string {
	name := p.extras[note.Extra].name
	if name == "" {
		name = opName(op)
	}
	str := func(i int) string {
		s, _ := program.StringAt(p.arena.Base, p.arena.Data(), op.Args[i])
		return strconv.Quote(s)
	}
	switch op.Kind {
	case program.OpPull:
		numbers := program.Int32sAt(p.arena.Base, p.arena.Data(), op.Args[3], int(op.Args[2]))
		return fmt.Sprintf("pull(%d, message %d) -> %s", op.Args[0], op.Args[1], strings.Trim(fmt.Sprint(numbers), "[]"))
	case program.OpFork:
		return fmt.Sprintf("clone3 -> task %q", p.tree.Tasks()[op.Args[1]].Name)
	case program.OpCreate:
		return fmt.Sprintf("openat(%s, %s|O_CREAT, %#o)", str(0), openFlags(op.Args[1]), op.Args[2])
	case program.OpAdd:
		return fmt.Sprintf("sendmsg(message %d, %d files)", op.Args[2], op.Args[1])
	case program.OpReopen:
		return fmt.Sprintf("openat(\"/proc/self/fd/#%d\", %s)", op.Args[0], openFlags(op.Args[1]))
	case program.OpRefuse, program.OpTruncate, program.OpCaller:
		if op.Mode(0) == program.ModeSlot {
			return fmt.Sprintf("%s(#%d)", name, op.Args[0])
		}
		return fmt.Sprintf("%s(%d)", name, op.Args[0])
	case program.OpFind:
		return fmt.Sprintf("find program %q", p.extras[note.Extra].path)
	default: // a call with arguments
	}
	if argText[op.Nr] == "" && op.Kind != program.OpCall || strings.HasSuffix(name, ")") && argText[op.Nr] == "" {
		return name
	}
	if op.Nr == unix.SYS_EXECVE {
		return fmt.Sprintf("execve %q", p.extras[note.Extra].path)
	}
	var args []string
	for i, form := range argText[op.Nr] {
		switch {
		case form == '-':
		case op.Mode(i) == program.ModeSlot:
			args = append(args, fmt.Sprintf("#%d", op.Args[i]))
		case op.Mode(i) == program.ModeLoad:
			args = append(args, "the store")
		case form == 's':
			args = append(args, str(i))
		case form == 'f':
			args = append(args, openFlags(op.Args[i]))
		case form == 'c':
			args = append(args, strings.TrimPrefix(strings.TrimPrefix(openFlags(op.Args[i]), "O_RDONLY"), "|"))
		default:
			args = append(args, strconv.FormatInt(int64(op.Args[i]), 10))
		}
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// openFlags shows flags of open(2) by name.
func openFlags(flags uint64) string {
	names := []string{[]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[flags&unix.O_ACCMODE]}
	rest := flags &^ unix.O_ACCMODE
	for _, f := range []struct {
		bits uint64
		name string
	}{
		{unix.O_PATH, "O_PATH"},
		{unix.O_TMPFILE, "O_TMPFILE"},
		{unix.O_DIRECTORY, "O_DIRECTORY"},
		{unix.O_NOFOLLOW, "O_NOFOLLOW"},
		{unix.O_APPEND, "O_APPEND"},
		{unix.O_NONBLOCK, "O_NONBLOCK"},
		{unix.O_SYNC, "O_SYNC"},
		{unix.O_DSYNC, "O_DSYNC"},
		{unix.O_DIRECT, "O_DIRECT"},
		{unix.O_NOATIME, "O_NOATIME"},
		{unix.O_NOCTTY, "O_NOCTTY"},
		{unix.O_CLOEXEC, "O_CLOEXEC"},
	} {
		if f.bits != 0 && rest&f.bits == f.bits {
			names = append(names, f.name)
			rest &^= f.bits
		}
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return strings.Join(names, "|")
}
