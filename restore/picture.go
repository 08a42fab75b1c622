package restore

import (
	"encoding/json"
	"io"
	"maps"

	"regrow/restore/internal/program"
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
	// Table has the descriptors in the end, those of the description.
	Table map[int]string `json:"table"`
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
	for i := range pic.Tasks {
		pic.Tasks[i].Table = before[i]
	}
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
	if c.what == theShard {
		name = "[shard]"
	} else if c.what != theStore {
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
		steps[i] = StepOfPlan{Call: p.callText(op, note), For: p.what(op, note), Line: int(note.Line)}
		if op.Flags&program.FlagWant != 0 && op.Kind != program.OpPair {
			steps[i].Want = &op.Want
		}
	}
	return steps
}
