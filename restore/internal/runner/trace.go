package runner

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// trace collects what happens when, for Options.Trace. A nil trace collects
// nothing. Times are nanoseconds of CLOCK_MONOTONIC, for the runner and for the
// tasks, which write theirs into the arena.
type trace struct {
	mu     sync.Mutex // prepare runs beside what gives up on it
	began  int64
	steps  []traceStep
	stages []*traceStage
}

// traceStep is an op of the runner's own.
type traceStep struct {
	prog       *program.Program
	op         int
	begin, end int64
}

// traceStage is something that the runner does for the whole tree.
type traceStage struct {
	name       string
	begin, end int64 // end 0: it did not come to an end
	moment     bool
}

func newTrace() *trace { return &trace{began: monotonic()} }

// monotonic reads the clock that tasks note the time by.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails for no clock that there is
	return ts.Nano()
}

// step notes an op that is about to run; what it gives is called when it has.
func (t *trace) step(prog *program.Program, op int) (done func()) {
	if t == nil {
		return func() {}
	}
	begin := monotonic()
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.steps = append(t.steps, traceStep{prog, op, begin, monotonic()})
	}
}

// stage notes what the runner does from now on, until done is called.
func (t *trace) stage(name string) (done func()) {
	if t == nil {
		return func() {}
	}
	s := &traceStage{name: name, begin: monotonic()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stages = append(t.stages, s)
	return func() { s.end = monotonic() }
}

// moment notes that something has happened.
func (t *trace) moment(name string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stages = append(t.stages, &traceStage{name: name, begin: monotonic(), moment: true})
}

// finishTrace writes the trace, if there is one. The tree has been released, or
// nothing of it is left: a trace that cannot be written is no reason to fail.
func (r *run) finishTrace(failed error) {
	if r.trace == nil {
		return
	}
	if err := r.writeTrace(r.options.Trace, failed); err != nil {
		r.log.WithError(err).Warn("the trace could not be written")
	}
}

// traceEvent is an event of the Trace Event Format, which chrome://tracing and
// Perfetto read: "X" has a duration, "i" is a moment, "M" names a lane, "s" and "f"
// are the ends of an arrow. Times are microseconds.
type traceEvent struct {
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
	traceProcess = 1 // all lanes belong to one
	runnerLane   = 0 // task i has the lane i + 1, helpers those behind
)

// writeTrace writes everything that was noted.
func (r *run) writeTrace(out io.Writer, failed error) error {
	w := &traceWriter{out: bufio.NewWriter(out), r: r, zero: r.trace.began, end: monotonic()}
	w.text(`{"displayTimeUnit":"ns","traceEvents":[`)
	w.event(traceEvent{Name: "process_name", Phase: "M", Lane: runnerLane, Args: map[string]any{"name": "regrow restore " + r.plan.Tree.Source}})
	w.runner(failed)
	if r.arena != nil {
		for i := range r.plan.Tasks {
			w.task(i)
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

type traceWriter struct {
	out     *bufio.Writer
	r       *run
	zero    int64
	end     int64
	count   int
	err     error
	forked  int64 // when the last task began
	ready   int64 // when the last task waited for the release, 0: not all did
	missed  bool  // a task was not ready
	helpers int   // lanes that they have, behind those of the tasks
}

func (w *traceWriter) text(s string) {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
	}
}

func (w *traceWriter) event(e traceEvent) {
	e.PID = traceProcess
	line, err := json.Marshal(e)
	if err != nil && w.err == nil {
		w.err = err
	}
	if w.count++; w.count > 1 {
		w.text(",")
	}
	w.text("\n" + string(line))
}

// name names a lane. Viewers show lanes in ascending order.
func (w *traceWriter) name(lane, order int, name string) {
	w.event(traceEvent{Name: "thread_name", Phase: "M", Lane: lane, Args: map[string]any{"name": name}})
	w.event(traceEvent{Name: "thread_sort_index", Phase: "M", Lane: lane, Args: map[string]any{"sort_index": order}})
}

func (w *traceWriter) micros(ns int64) float64 { return float64(ns-w.zero) / 1000 }

// lasting writes something that lasts.
func (w *traceWriter) lasting(e traceEvent, begin, end int64) {
	dur := float64(max(end-begin, 0)) / 1000
	e.Phase, e.TS, e.Dur = "X", w.micros(begin), &dur
	w.event(e)
}

// moment writes a mark across all lanes, if it has happened.
func (w *traceWriter) moment(name string, at int64) {
	if at != 0 && !w.missed {
		w.event(traceEvent{Name: name, Cat: "barrier", Phase: "i", Scope: "g", TS: w.micros(at)})
	}
}

// runner writes the lane of this process.
func (w *traceWriter) runner(failed error) {
	t := w.r.trace
	t.mu.Lock()
	defer t.mu.Unlock()
	w.name(runnerLane, 0, "regrow")
	for _, s := range t.stages {
		if s.moment {
			w.event(traceEvent{Name: s.name, Cat: "barrier", Phase: "i", Scope: "g", TS: w.micros(s.begin)})
			continue
		}
		end := s.end
		if end == 0 {
			end = w.end
		}
		w.lasting(traceEvent{Name: s.name, Cat: "stage", Lane: runnerLane}, s.begin, end)
	}
	for _, s := range t.steps {
		w.lasting(w.opEvent(s.prog, s.op, runnerLane), s.begin, s.end)
	}
	if failed != nil {
		w.event(traceEvent{Name: "failed", Cat: "error", Phase: "i", Scope: "g", TS: w.micros(w.end), Args: map[string]any{"error": failed.Error()}})
	}
}

// opEvent describes an op.
func (w *traceWriter) opEvent(prog *program.Program, i, lane int) traceEvent {
	p := w.r.plan
	op, note := &prog.Ops[i], prog.Notes[i]
	e := traceEvent{Name: words.Call(p, op, note), Cat: string(note.Verb.Row().Category), Lane: lane, Args: map[string]any{"for": words.What(p, op, note)}}
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

// task writes a task's lane, if the task was made, and those of its helpers.
func (w *traceWriter) task(i int) {
	p, rec := w.r.plan, w.r.arena.Record(i)
	ops := w.r.arena.Ops(rec.Ops, len(p.Tasks[i].Ops))
	if ops[0].At == 0 {
		w.missed = true
		return
	}
	w.forked = max(w.forked, ops[0].At)
	order := (i + 1) * (plan.MostHelpers + 1) // with room for those that help it
	w.name(i+1, order, fmt.Sprintf("%s (pid %d)", p.Tree.Tasks()[i].Name, w.r.taskPID(i)))
	var own []int
	for j := 0; j < len(ops); j++ {
		own = append(own, j)
		if ops[j].Kind != program.OpHelp {
			continue
		}
		if helper := w.r.helper(&ops[j]); helper != 0 {
			n := int(ops[j].Args[2])
			w.helpers++
			lane := len(p.Tasks) + w.helpers
			order++
			w.name(lane, order, fmt.Sprintf("%s, helper (pid %d)", p.Tree.Tasks()[i].Name, helper))
			w.ops(i, ops, lane, span(j+1, n), 0) // one that was killed has left no time of it
			j += n
		}
	}
	w.ops(i, ops, i+1, own, w.end)
	ready := ops[slices.IndexFunc(ops, func(op program.Op) bool { return op.Kind == program.OpReady })].At
	w.ready = max(w.ready, ready)
	w.missed = w.missed || ready == 0
}

// span gives n numbers from one on.
func span(from, n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = from + i
	}
	return numbers
}

// ops writes what one process did, in its lane: some of a task's ops, in their order.
// Each lasts until the next one, the program's last, or the one that failed, until
// last.
func (w *traceWriter) ops(task int, ops []program.Op, lane int, which []int, last int64) {
	p, rec := w.r.plan, w.r.arena.Record(task)
	prog := &p.Tasks[task]
	for k, j := range which {
		if ops[j].At == 0 {
			break
		}
		end := max(last, ops[j].At)
		if k+1 < len(which) && ops[which[k+1]].At != 0 {
			end = ops[which[k+1]].At
		}
		e := w.opEvent(prog, j, lane)
		if rec.Errno != 0 && int(rec.Op) == j {
			why, err := words.Reason(p, &prog.Ops[j], prog.Notes[j], rec.Errno, rec.Got)
			e.Cat, e.Args["error"] = "error", fmt.Sprint(why, err)
		}
		w.lasting(e, ops[j].At, end)
		if ops[j].Kind == program.OpFork {
			w.arrow(int(ops[j].Args[1]), lane, ops[j].At, end)
		}
	}
}

// helper gives the pid of the helper that an OpHelp has made, 0 if none.
func (r *run) helper(op *program.Op) int {
	cell := r.arena.Bytes()[op.Args[3]-r.arena.Base:]
	return int(int32(binary.NativeEndian.Uint64(cell)))
}

// arrow draws from a fork to what the child does first.
func (w *traceWriter) arrow(child, lane int, at, end int64) {
	first := w.r.arena.Ops(w.r.arena.Record(child).Ops, 1)[0].At
	if first == 0 {
		return
	}
	e := traceEvent{Name: "fork", Cat: "fork", ID: child, Phase: "s", Lane: lane, TS: w.micros((at + end) / 2)}
	w.event(e)
	e.Phase, e.Lane, e.TS, e.Bind = "f", child+1, w.micros(first), "e"
	w.event(e)
}

// taskPID gives a task's number in its pid namespace.
func (r *run) taskPID(i int) int {
	if i == 0 && r.plan.Tree.HasNamespace(tasktree.NamespacePID) {
		return 1
	}
	return int(r.arena.Record(i).PID)
}
