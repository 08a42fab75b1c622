package model_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
)

// TestWaits breaks how tasks wait and end. The model must refuse each plan.
func TestWaits(t *testing.T) {
	await := func(op *program.Op, _ program.Note) bool { return op.Kind == program.OpAwait }
	pass := func(op *program.Op, note program.Note) bool {
		return op.Nr == unix.SYS_FUTEX && note.Verb == program.VerbMeet
	}
	leave := func(op *program.Op, _ program.Note) bool {
		return op.Kind == program.OpStore && op.Args[0] == program.BegunToEnd
	}
	find := func(prog *program.Program, is func(*program.Op, program.Note) bool) int {
		for i := range prog.Ops {
			if is(&prog.Ops[i], prog.Notes[i]) {
				return i
			}
		}
		t.Fatal("no op of that kind")
		return 0
	}
	remove := func(prog *program.Program, i int) {
		prog.Ops, prog.Notes = slices.Delete(prog.Ops, i, i+1), slices.Delete(prog.Notes, i, i+1)
	}
	const passes, awaits, ends = 5, 6, 7 // tasks of the reference: second, third, ends
	for _, c := range []struct {
		name  string
		spoil func(p *plan.Plan)
		want  string
	}{
		{"no task passes", func(p *plan.Plan) { remove(&p.Tasks[passes], find(&p.Tasks[passes], pass)) }, `task "third" waits forever: its counter is 1`},
		{"one passes twice", func(p *plan.Plan) {
			prog := &p.Tasks[passes]
			i := find(prog, pass)
			prog.Ops, prog.Notes = slices.Insert(prog.Ops, i, prog.Ops[i]), slices.Insert(prog.Notes, i, prog.Notes[i])
		}, "waits forever: its counter is -1"},
		{"the other's pid is used at once", func(p *plan.Plan) { remove(&p.Tasks[awaits], find(&p.Tasks[awaits], await)) }, `task "second" may not have been forked yet`},
		{"an end that was not noted", func(p *plan.Plan) { remove(&p.Tasks[ends], find(&p.Tasks[ends], leave)) }, "counted as ready, so it can only wait"},
		{"an end that is not counted", func(p *plan.Plan) { remove(&p.Tasks[ends], find(&p.Tasks[ends], leave)+1) }, "is counted as ready: false"},
		{"an end that the kernel tells of", func(p *plan.Plan) { remove(&p.Tasks[ends], find(&p.Tasks[ends], leave)+2) }, "has no robust list: false"},
		{"noted and not done", func(p *plan.Plan) { remove(&p.Tasks[ends], find(&p.Tasks[ends], leave)+3) }, `task "ends" has noted that it ends, and does not`},
		{"another op after that", func(p *plan.Plan) {
			prog := &p.Tasks[ends]
			i := find(prog, leave)
			prog.Ops, prog.Notes = slices.Insert(prog.Ops, i+1, prog.Ops[0]), slices.Insert(prog.Notes, i+1, prog.Notes[0])
		}, "only the calls that end the task can follow"},
		{"an op after the end", func(p *plan.Plan) {
			prog := &p.Tasks[ends]
			prog.Ops, prog.Notes = append(prog.Ops, prog.Ops[0]), append(prog.Notes, prog.Notes[0])
		}, "no op can follow"},
		{"the root ends", func(p *plan.Plan) {
			i := find(&p.Tasks[ends], leave)
			end := p.Tasks[ends]
			end.Ops[i].Args[1] = p.Arena.Record(0) + program.RecordBegun
			p.Tasks[0].Ops = append(p.Tasks[0].Ops[:1:1], end.Ops[i:]...)
			p.Tasks[0].Notes = append(p.Tasks[0].Notes[:1:1], end.Notes[i:]...)
		}, "the root ends, but a root cannot end by plan"},
		{"another address in place of a pid", func(p *plan.Plan) {
			prog := &p.Tasks[awaits]
			prog.Ops[slices.IndexFunc(prog.Ops, func(op program.Op) bool { return op.Nr == unix.SYS_WAITID })].Args[1]--
		}, "argument 1 is not the pid of a task"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := planner.New(plantest.Reference(t, t.TempDir()), plantest.Host, plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := model.Verify(p); err != nil {
				t.Fatal(err)
			}
			c.spoil(p)
			if err := model.Verify(p); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
