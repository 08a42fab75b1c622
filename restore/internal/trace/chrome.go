package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// event is an event of the Trace Event Format, which chrome://tracing and Perfetto read. "X"
// has a duration, "i" is a moment, "M" names a lane, "s" and "f" are the ends of an arrow.
// Times are microseconds.
type event struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	PID   int            `json:"pid"`
	Lane  int            `json:"tid"`
	TS    float64        `json:"ts"`
	Dur   *float64       `json:"dur,omitempty"`
	Scope string         `json:"s,omitempty"`
	ID    int            `json:"id,omitempty"`
	Bind  string         `json:"bp,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

const (
	process    = 1 // of all lanes
	runnerLane = 0 // task i has lane i + 1; fork helpers have the lanes after those
)

// Write writes what was recorded, and the times of tasks in the arena, nil if it was not
// mapped. failed is the error of the restore, nil if it succeeded. The tree must have been
// released, or be gone.
func (t *Trace) Write(out io.Writer, p *plan.Plan, arena *postfork.Arena, failed error) error {
	if arena != nil && failed == nil {
		settle(p, arena)
	}
	w := &writer{out: bufio.NewWriter(out), plan: p, arena: arena, zero: t.began, end: monotonic()}
	w.text(`{"displayTimeUnit":"ns","traceEvents":[`)
	w.put(event{Name: "process_name", Phase: "M", Lane: runnerLane, Args: map[string]any{"name": "regrow restore " + p.Tree.Source}})
	w.runner(t, failed)
	if arena != nil {
		for i := range p.Tasks {
			w.task(i)
		}
		for i := range p.Benches {
			w.bench(i)
		}
		w.moment("all tasks forked", w.forked)
		w.moment("all tasks ready", w.ready)
	}
	w.text("\n]}\n")
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

type writer struct {
	out     *bufio.Writer
	plan    *plan.Plan
	arena   *postfork.Arena
	zero    int64
	end     int64
	count   int
	err     error
	forked  int64 // when the last task began
	ready   int64 // when the last task counted itself as ready; 0: not all did
	missed  bool  // a task was not ready
	helpers int   // number of lanes of fork helpers and benches
}

func (w *writer) text(s string) {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
	}
}

func (w *writer) put(e event) {
	e.PID = process
	line, err := json.Marshal(e)
	if err != nil && w.err == nil {
		w.err = err
	}
	if w.count++; w.count > 1 {
		w.text(",")
	}
	w.text("\n" + string(line))
}

// name names a lane. Viewers show lanes in ascending order of their sort index.
func (w *writer) name(lane, order int, name string) {
	w.put(event{Name: "thread_name", Phase: "M", Lane: lane, Args: map[string]any{"name": name}})
	w.put(event{Name: "thread_sort_index", Phase: "M", Lane: lane, Args: map[string]any{"sort_index": order}})
}

func (w *writer) micros(ns int64) float64 { return float64(ns-w.zero) / 1000 }

// lasting writes an event with a duration.
func (w *writer) lasting(e event, begin, end int64) {
	dur := float64(max(end-begin, 0)) / 1000
	e.Phase, e.TS, e.Dur = "X", w.micros(begin), &dur
	w.put(e)
}

// moment writes a mark across all lanes, if at is set.
func (w *writer) moment(name string, at int64) {
	if at != 0 && !w.missed {
		w.put(event{Name: name, Cat: "barrier", Phase: "i", Scope: "g", TS: w.micros(at)})
	}
}

// runner writes the lane of the runner.
func (w *writer) runner(t *Trace, failed error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.name(runnerLane, 0, "regrow")
	for _, s := range t.stages {
		if s.moment {
			w.put(event{Name: s.name, Cat: "barrier", Phase: "i", Scope: "g", TS: w.micros(s.begin)})
			continue
		}
		end := s.end
		if end == 0 {
			end = w.end
		}
		w.lasting(event{Name: s.name, Cat: "stage", Lane: runnerLane}, s.begin, end)
	}
	for _, s := range t.steps {
		w.lasting(w.opEvent(s.prog, s.op, runnerLane), s.begin, s.end)
	}
	if failed != nil {
		w.put(event{Name: "failed", Cat: "error", Phase: "i", Scope: "g", TS: w.micros(w.end), Args: map[string]any{"error": failed.Error()}})
	}
}

// opEvent makes the event of an op.
func (w *writer) opEvent(prog *program.Program, i, lane int) event {
	p := w.plan
	op, note := &prog.Ops[i], prog.Notes[i]
	e := event{Name: words.Call(p, op, note), Cat: string(note.Verb.Row().Category), Lane: lane, Args: map[string]any{"for": words.What(p, op, note)}}
	if note.Line > 0 {
		e.Args["line"] = tasktree.At(p.Tree.Source, tasktree.Pos{Line: int(note.Line), Col: int(note.Col)})
	}
	if note.FD != program.NoFD {
		e.Args["fd"] = note.FD
	}
	if note.File != program.NoFile {
		e.Args["file"] = p.Tree.Files[note.File].EndName(int(note.End))
	}
	return e
}

// task writes the lane of a task, if the task was forked, and those of its fork helpers.
func (w *writer) task(i int) {
	p, rec := w.plan, w.arena.Record(i)
	ops := w.arena.Ops(rec.Ops, len(p.Tasks[i].Ops))
	if ops[0].At == 0 {
		w.missed = true
		return
	}
	w.forked = max(w.forked, ops[0].At)
	order := (i + 1) * (plan.MostHelpers + 1) // with room for fork helpers
	w.name(i+1, order, fmt.Sprintf("%s (pid %d)", p.Tree.Tasks()[i].Name, p.TaskPID(i, rec.PID)))
	var own []int
	for j := 0; j < len(ops); j++ {
		own = append(own, j)
		if ops[j].Kind != program.OpHelp {
			continue
		}
		record := int(ops[j].Args[1])
		if helper := w.arena.Record(record).PID; helper != 0 {
			n := int(ops[j].Args[2])
			w.helpers++
			lane := len(p.Tasks) + w.helpers
			order++
			w.name(lane, order, fmt.Sprintf("%s, helper (pid %d)", p.Tree.Tasks()[i].Name, helper))
			w.ops(&p.Tasks[i], w.arena.Record(record), j+1, lane, span(j+1, n), 0) // the time at which a helper was killed is not known
			j += n
		}
	}
	w.ops(&p.Tasks[i], rec, 0, i+1, own, w.end)
	counts := slices.IndexFunc(p.Tasks[i].Notes, func(n program.Note) bool { return n.Verb == program.VerbReady })
	if counts < 0 {
		return // it ends by plan, and the release does not wait for it
	}
	ready := ops[counts].At
	w.ready = max(w.ready, ready)
	w.missed = w.missed || ready == 0
}

// bench writes the lane of a bench, if it was made.
func (w *writer) bench(i int) {
	b := &w.plan.Benches[i]
	rec := w.arena.Record(b.Record)
	if w.arena.Ops(rec.Ops, 1)[0].At == 0 {
		return
	}
	w.helpers++
	lane := len(w.plan.Tasks) + w.helpers
	w.name(lane, 0, fmt.Sprintf("bench %d (pid %d)", i, rec.PID)) // beside the runner's
	w.ops(&b.Program, rec, 0, lane, span(0, len(b.Ops)), 0)
}

// span returns the n numbers that begin with from.
func span(from, n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = from + i
	}
	return numbers
}

// ops writes the events of one process in its lane: some of a program's ops, in their
// order. Each lasts until the next one. The last op, or the one that failed, lasts until
// last. The first op of the record has the number first in the program.
func (w *writer) ops(prog *program.Program, rec *program.Record, first, lane int, which []int, last int64) {
	p, ops := w.plan, w.arena.Ops(rec.Ops-uint64(first)*program.OpSize, len(prog.Ops))
	for k, j := range which {
		if ops[j].At == 0 {
			break
		}
		end := max(last, ops[j].At)
		if k+1 < len(which) && ops[which[k+1]].At != 0 {
			end = ops[which[k+1]].At
		}
		e := w.opEvent(prog, j, lane)
		if rec.Errno != 0 && first+int(rec.Op) == j {
			why, err := words.Reason(p, &prog.Ops[j], prog.Notes[j], rec.Errno, rec.Got)
			e.Cat, e.Args["error"] = "error", fmt.Sprint(why, err)
		}
		w.lasting(e, ops[j].At, end)
		if ops[j].Kind == program.OpFork {
			w.arrow(int(ops[j].Args[1]), lane, ops[j].At, end)
		}
	}
}

// arrow draws an arrow from a fork to the first op of the child.
func (w *writer) arrow(child, lane int, at, end int64) {
	first := w.arena.Ops(w.arena.Record(child).Ops, 1)[0].At
	if first == 0 {
		return
	}
	e := event{Name: "fork", Cat: "fork", ID: child, Phase: "s", Lane: lane, TS: w.micros((at + end) / 2)}
	w.put(e)
	e.Phase, e.Lane, e.TS, e.Bind = "f", child+1, w.micros(first), "e"
	w.put(e)
}
