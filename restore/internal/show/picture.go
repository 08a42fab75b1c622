package show

import (
	"encoding/json"
	"io"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// Picture is a plan in a form for programs, as [WriteJSON] writes it.
type Picture struct {
	Version  int             `json:"version"` // 1
	Source   string          `json:"source"`
	Replaced []plan.Replaced `json:"replaced,omitempty"` // open files that descriptors of the caller's replace
	StoreFD  int             `json:"store_fd"`           // number of the store in the root, -1: none
	Messages [][]string      `json:"messages"`           // the open files of each message, by position
	Prepare  []StepOfPlan    `json:"prepare"`            // of the runner, before the first clone
	Benches  [][]StepOfPlan  `json:"benches,omitempty"`  // of processes that make some of the files, by number
	Commit   []StepOfPlan    `json:"commit"`             // of the runner, when every task is ready
	Tasks    []TaskOfPlan    `json:"tasks"`              // in the order of the description
}

// TaskOfPlan is what one task does.
type TaskOfPlan struct {
	Name   string       `json:"name"`
	Parent string       `json:"parent"`
	Line   int          `json:"line"`
	Steps  []StepOfPlan `json:"steps"`
	// Table has the final descriptors, those of the description.
	Table map[int]*CellOfPlan `json:"table"`
}

// StepOfPlan is one op.
type StepOfPlan struct {
	Call string `json:"call"`           // with its arguments
	For  string `json:"for"`            // its purpose
	Line int    `json:"line"`           // of the description that asks for it; 0: none
	Want *int64 `json:"want,omitempty"` // the required result
	// Table has the descriptors that the op changed; nil: the number is free now.
	Table map[int]*CellOfPlan `json:"table,omitempty"`
}

// CellOfPlan is what a number of a table refers to, written as in a [model.Prediction].
type CellOfPlan struct {
	plan.Held

	Look bool `json:"look,omitempty"` // opened with O_PATH
}

// String returns the text for people: "-" for a free number, "log*" for a close-on-exec
// descriptor, "(log)" for one opened with O_PATH.
func (c *CellOfPlan) String() string {
	if c == nil {
		return "-"
	}
	text := c.File
	if c.Look {
		text = "(" + text + ")"
	}
	if c.Cloexec {
		text += "*"
	}
	return text
}

// WriteJSON writes the plan as one JSON object, a [Picture].
func WriteJSON(p *plan.Plan, w io.Writer) error {
	picture, err := NewPicture(p)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(picture)
}

// NewPicture returns the plan in a form for programs, with the tables of the model.
func NewPicture(p *plan.Plan) (*Picture, error) {
	pic := &Picture{Version: 1, Source: p.Tree.Source, Replaced: plan.Replacements(p.Tree), StoreFD: p.StoreFD, Messages: [][]string{}}
	for _, m := range p.Messages {
		var names []string
		for _, fe := range m {
			names = append(names, p.Tree.Files[fe.File].EndName(int(fe.End)))
		}
		pic.Messages = append(pic.Messages, names)
	}
	pic.Prepare, pic.Commit = steps(p, &p.Prepare), steps(p, &p.Commit)
	for i := range p.Benches {
		pic.Benches = append(pic.Benches, steps(p, &p.Benches[i].Program))
	}
	for i, task := range p.Tree.Tasks() {
		t := TaskOfPlan{Name: task.Name, Line: task.Pos.Line, Steps: steps(p, &p.Tasks[i])}
		if task.Parent != nil {
			t.Parent = task.Parent.Name
		}
		pic.Tasks = append(pic.Tasks, t)
	}
	m, err := model.Simulate(p, func(task, op int, changed map[int]model.Cell) {
		if len(changed) == 0 {
			return
		}
		cells := make(map[int]*CellOfPlan, len(changed))
		for n, c := range changed {
			cells[n] = cellOf(p, c)
		}
		pic.Tasks[task].Steps[op].Table = cells
	})
	for i := range pic.Tasks {
		pic.Tasks[i].Table = map[int]*CellOfPlan{}
		if m.Tables[i] != nil {
			for n, c := range m.Tables[i].Cells.All() {
				pic.Tasks[i].Table[n] = cellOf(p, c)
			}
		}
	}
	return pic, err
}

// cellOf returns what a number refers to, nil if it is free.
func cellOf(p *plan.Plan, c model.Cell) *CellOfPlan {
	if c.What == plan.Nothing {
		return nil
	}
	return &CellOfPlan{Held: plan.Held{File: p.EndName(c.What), Cloexec: c.Cloexec}, Look: c.Look}
}

func steps(p *plan.Plan, prog *program.Program) []StepOfPlan {
	steps := make([]StepOfPlan, len(prog.Ops))
	for i := range prog.Ops {
		op, note := &prog.Ops[i], prog.Notes[i]
		steps[i] = StepOfPlan{Call: words.Call(p, op, note), For: words.What(p, op, note), Line: int(note.Line)}
		if op.Flags&program.FlagWant != 0 && op.Kind != program.OpPair {
			steps[i].Want = &op.Want
		}
	}
	return steps
}
