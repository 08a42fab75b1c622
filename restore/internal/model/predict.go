package model

import (
	"cmp"
	"fmt"
	"slices"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// Prediction is what a plan will do to descriptor tables. It is found by running the plan on a
// model of them.
type Prediction struct {
	Strategy plan.Strategy `json:"strategy"`
	Naive    bool          `json:"naive"`

	// Helpers is the largest number of helpers in any task at a time: descriptors that are
	// not, or not yet, as described.
	Helpers int `json:"helpers"`
	// Calls is the number of system calls of the tasks until they are ready, if no pull must
	// be repeated.
	Calls int `json:"calls"`
	// Messages is the number of messages that carry open files between processes.
	Messages int `json:"messages"`
	// InFlight is the largest number of open files in sockets at a time.
	InFlight int `json:"in_flight"`
	// NoFile is the RLIMIT_NOFILE that this plan needs, in the tasks and in the process that
	// restores. With a lower limit, NewPlan may find another plan.
	NoFile uint64 `json:"nofile"`

	// Collisions are the descriptors that collided, by the position of the op. A careful
	// plan has none.
	Collisions []Collision `json:"collisions"`
	// Tasks are in the order of the description.
	Tasks []TaskPrediction `json:"tasks"`
}

// TaskPrediction is what one task does, and its final table.
type TaskPrediction struct {
	Name    string `json:"name"`
	Helpers int    `json:"helpers"` // most at a time; for a sharer only its own
	Calls   int    `json:"calls"`   // until it is ready
	Right   bool   `json:"right"`   // the table is as described
	plan.Outcome
}

// Collision is a descriptor that was needed and that an op of a plan destroyed, by replacing it
// or by closing it.
type Collision struct {
	Line int    `json:"line"` // of the description that asks for the op
	Col  int    `json:"col"`
	Task string `json:"task"`
	Op   string `json:"op"`   // its purpose, and the call
	FD   int    `json:"fd"`   // the number
	Was  string `json:"was"`  // what it referred to: an open file's name, or [store], [helper] and so on
	Lost string `json:"lost"` // what is lost

	source string
}

// String returns the collision as a message with its position.
func (c Collision) String() string { return c.place() + ": " + c.words() }

// Warning returns the message as a warning.
func (c Collision) Warning() string { return c.place() + ": warning: " + c.words() }

func (c Collision) place() string {
	return tasktree.At(c.source, tasktree.Pos{Line: c.Line, Col: c.Col})
}

func (c Collision) words() string {
	return fmt.Sprintf("task %q: %s: fd %d was %s; this loses %s", c.Task, c.Op, c.FD, c.Was, c.Lost)
}

// Predict runs the plan on the model of descriptor tables. It is pure. An error means that the
// planner has a bug.
func Predict(p *plan.Plan) (*Prediction, error) {
	m, err := Simulate(p, nil)
	if err != nil {
		return nil, err
	}
	pr := &Prediction{
		Strategy: p.Options.Strategy, Naive: p.Options.Naive, Messages: len(p.Messages), Collisions: []Collision{},
		NoFile: uint64(max(m.top, p.OpenAtOnce()+OwnDescriptors, 2*len(p.Lent))),
	}
	traffic(p, pr)
	for i, task := range p.Tree.Tasks() {
		t := TaskPrediction{Name: task.Name, Helpers: m.helpers[i], Calls: Calls(&p.Tasks[i]), Right: !m.wrong[i]}
		t.Outcome = plan.Outcome{Failed: words.FailedOp(p, i, m.Failed[i].Op, m.Failed[i].Errno), Table: make(map[int]plan.Held, m.Tables[i].Cells.Count)}
		if task.Sharer() {
			t.Shares = task.Owner.Name
		}
		for n, c := range m.Tables[i].Cells.All() {
			t.Table[n] = plan.Held{File: p.EndName(c.What), Cloexec: c.Cloexec}
		}
		pr.Tasks = append(pr.Tasks, t)
		pr.Helpers = max(pr.Helpers, t.Helpers)
		pr.Calls += t.Calls
	}
	for _, c := range m.collisions {
		pr.Collisions = append(pr.Collisions, collisionOf(p, c))
	}
	slices.SortStableFunc(pr.Collisions, func(a, b Collision) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return pr, nil
}

// traffic counts the messages that carry open files: those of a store, or those between tasks
// and a service, of which each task has one in flight.
func traffic(p *plan.Plan, pr *Prediction) {
	pr.InFlight = p.InFlight()
	if p.Options.Strategy != plan.StrategyService {
		return
	}
	channels := 0
	for i := range p.Tasks {
		for j := range p.Tasks[i].Ops {
			switch op := &p.Tasks[i].Ops[j]; {
			case op.Kind == program.OpTake:
				pr.Messages++
			case op.Kind == program.OpPair && p.Tasks[i].Notes[j].Verb == program.VerbChannel:
				pr.Messages++
				channels++
			}
		}
	}
	pr.InFlight = min(1, len(p.Messages)) * max(1, channels)
	pr.NoFile = max(pr.NoFile, uint64(len(p.Messages)+channels+OwnDescriptors)) // descriptors of the service
}

// OwnDescriptors is the number of descriptors that a Go program that restores has
// besides the files: its standard descriptors, two of the runtime's poller and one from
// which it reads its cgroup's limit, the store, a pidfd, and one for reading /proc.
const OwnDescriptors = 9

func collisionOf(p *plan.Plan, c collision) Collision {
	op, note := &p.Tasks[c.task].Ops[c.op], p.Tasks[c.task].Notes[c.op]
	return Collision{
		Line: int(note.Line), Col: int(note.Col), Task: p.Tree.Tasks()[c.task].Name,
		Op: words.What(p, op, note) + ": " + words.Call(p, op, note), FD: c.number, Was: p.EndName(c.was.What), Lost: c.lost,
		source: p.Tree.Source,
	}
}

// Calls counts the system calls of a task until it is ready.
func Calls(prog *program.Program) int {
	n := 0
	for i := range prog.Ops {
		switch prog.Ops[i].Kind {
		case program.OpGate:
			return n + 1
		case program.OpPull, program.OpMeet:
			n += 2 // set the offset, peek; count, wake or wait
		default:
			n++
		}
	}
	return n
}

// Held reports whether the plan restores the tree as described: every table is right and no op
// fails.
func (pr *Prediction) Held() bool {
	return !slices.ContainsFunc(pr.Tasks, func(t TaskPrediction) bool { return t.Failed != nil || !t.Right })
}
