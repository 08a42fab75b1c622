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
	"regrow/restore/internal/words"
)

// inserter puts steps into the program of a task of a good plan, before it is ready.
type inserter struct {
	plan plan.Plan
	prog *program.Program
	at   int
}

func insertInto(t *testing.T, good *plan.Plan, task int) *inserter {
	t.Helper()
	in := &inserter{plan: *good}
	in.plan.Tasks, in.plan.Extras = slices.Clone(good.Tasks), slices.Clone(good.Extras)
	in.prog = &in.plan.Tasks[task]
	in.prog.Ops, in.prog.Notes = slices.Clone(in.prog.Ops), slices.Clone(in.prog.Notes)
	in.at = slices.IndexFunc(in.prog.Notes, func(n program.Note) bool { return n.Verb == program.VerbReady })
	if in.at < 0 {
		t.Fatal("the task is never ready")
	}
	return in
}

func (in *inserter) call(nr uint32, want int64, x plan.Extra, args ...uint64) {
	op := program.Op{Kind: program.OpCall, Nr: nr, Out: program.NoSlot}
	copy(op.Args[:], args)
	if want >= 0 {
		op.Flags, op.Want = program.FlagWant, want
	}
	note := program.Note{Line: 1, Col: 1, FD: program.NoFD, File: program.NoFile, Verb: program.VerbSetUp, Extra: int32(len(in.plan.Extras))}
	note.Effect, _ = program.EffectOf(&op)
	in.plan.Extras = append(in.plan.Extras, x)
	in.prog.Ops, in.prog.Notes = slices.Insert(in.prog.Ops, in.at, op), slices.Insert(in.prog.Notes, in.at, note)
	in.at++
}

func (in *inserter) open(path string, number int64, flags uint64) {
	in.call(unix.SYS_OPENAT, number, plan.Extra{Path: path}, 0, in.plan.Arena.String(path), flags|unix.O_CLOEXEC)
}

func (in *inserter) mapFile(path string, number uint64) {
	uses := []plan.Use{{Arg: 4, What: plan.Helper}}
	in.call(unix.SYS_MMAP, 0x7000_0000, plan.Extra{Path: path, Uses: uses}, 0x7000_0000, 0x1000, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_FIXED, number, 0)
}

func (in *inserter) close(number uint64) { in.call(unix.SYS_CLOSE, -1, plan.Extra{}, number) }

// TestOpenForAWhile has tasks open files that are none of the description, map them and
// close them again, as one does whose memory has files. The child has descriptor 0.
func TestOpenForAWhile(t *testing.T) {
	good, err := planner.New(plantest.Small(t), plantest.Host, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const lib, exe = "/lib/libc.so", "/bin/program"
	for name, c := range map[string]struct {
		insert func(in *inserter)
		want   string // "": the model accepts it
	}{
		"opened, mapped, closed": {func(in *inserter) { in.open(lib, 1, 0); in.mapFile(lib, 1); in.mapFile(lib, 1); in.close(1) }, ""},
		"one after the other": {func(in *inserter) {
			in.open(lib, 1, 0)
			in.mapFile(lib, 1)
			in.close(1)
			in.open(exe, 1, 0)
			in.mapFile(exe, 1)
			in.close(1)
		}, ""},
		"two at a time": {func(in *inserter) {
			in.open(lib, 1, 0)
			in.open(exe, 2, 0)
			in.mapFile(exe, 2)
			in.mapFile(lib, 1)
			in.close(1)
			in.close(2)
		}, ""},
		"the other one of two": {func(in *inserter) {
			in.open(lib, 1, 0)
			in.open(exe, 2, 0)
			in.mapFile(exe, 1)
			in.close(1)
			in.close(2)
		}, `(mmap): number 1 is "/lib/libc.so", and not "/bin/program"`},
		"anonymous": {func(in *inserter) {
			in.call(unix.SYS_MMAP, -1, plan.Extra{}, 0, 0x1000, 0, unix.MAP_ANONYMOUS, 1<<64-1, 0)
		}, ""},
		"close forgotten":       {func(in *inserter) { in.open(lib, 1, 0); in.mapFile(lib, 1) }, `number 1 still refers to "/lib/libc.so", which was opened for a while`},
		"one close forgotten":   {func(in *inserter) { in.open(lib, 1, 0); in.open(exe, 2, 0); in.close(1) }, `number 2 still refers to "/bin/program"`},
		"closed before":         {func(in *inserter) { in.open(lib, 1, 0); in.close(1); in.mapFile(lib, 1) }, "number 1 is free"},
		"closed twice":          {func(in *inserter) { in.open(lib, 1, 0); in.close(1); in.close(1) }, "(close): bad file descriptor"},
		"another number":        {func(in *inserter) { in.open(lib, 2, 0); in.mapFile(lib, 2); in.close(2) }, "lands at 1, not at the planned 2"},
		"the task's own mapped": {func(in *inserter) { in.open(lib, 1, 0); in.mapFile(lib, 0); in.close(1) }, `number 0 is p.r, not file "[helper]"`},
		"the task's own closed": {func(in *inserter) { in.open(lib, 1, 0); in.mapFile(lib, 1); in.close(0) }, `fd 0 is`},
		"only looked at":        {func(in *inserter) { in.open(lib, 1, unix.O_PATH); in.mapFile(lib, 1); in.close(1) }, "(mmap): bad file descriptor"},
		"which file not said": {func(in *inserter) {
			in.open(lib, 1, 0)
			in.call(unix.SYS_MMAP, -1, plan.Extra{Path: lib}, 0, 0x1000, 0, unix.MAP_PRIVATE, 1, 0)
			in.close(1)
		}, "does not say which file it maps by number 1"},
	} {
		t.Run(name, func(t *testing.T) {
			in := insertInto(t, good, 1)
			c.insert(in)
			switch err := model.Verify(&in.plan); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	in := insertInto(t, good, 1)
	in.mapFile(lib, 1)
	i := in.at - 1
	if got, want := words.Call(&in.plan, &in.prog.Ops[i], in.prog.Notes[i]), "mmap(0x70000000, 0x1000, 1, 0x12, 1, 0x0)"; got != want {
		t.Errorf("it is shown as %s, want %s", got, want)
	}
}

// TestReadyOnce breaks what a plan says of being ready: the tree would be released too
// soon, or never, or fail when it has been.
func TestReadyOnce(t *testing.T) {
	good, err := planner.New(plantest.Small(t), plantest.Host, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	counts := func(in *inserter, count uint64) {
		in.call(unix.SYS_FUTEX, -1, plan.Extra{}, in.plan.Arena.CountDown(count)...)
	}
	drop := func(in *inserter, kind program.OpKind, nth int) {
		for i := range in.prog.Ops {
			if op := &in.prog.Ops[i]; op.Kind == kind && (kind != program.OpCall || op.Nr == unix.SYS_FUTEX) {
				if nth--; nth < 0 {
					in.prog.Ops, in.prog.Notes = slices.Delete(in.prog.Ops, i, i+1), slices.Delete(in.prog.Notes, i, i+1)
					return
				}
			}
		}
		t.Fatal("nothing to drop")
	}
	for name, c := range map[string]struct {
		change func(in *inserter)
		want   string
	}{
		"twice":           {func(in *inserter) { counts(in, program.HeadLeft) }, "it can only wait for the release"},
		"a call between":  {func(in *inserter) { in.at++; in.call(unix.SYS_SETSID, -1, plan.Extra{}) }, "it can only wait for the release"},
		"never":           {func(in *inserter) { drop(in, program.OpCall, 0) }, "waits for the release and is not counted as ready"},
		"no gate":         {func(in *inserter) { drop(in, program.OpGate, 0) }, "it can only wait for the release"},
		"another gate":    {func(in *inserter) { in.prog.Ops[in.at+1].Args[0]++ }, "is not the gate"},
		"held unseen":     {func(in *inserter) { drop(in, program.OpCall, 1) }, "holds and is not counted"},
		"held twice":      {func(in *inserter) { in.at += 3; counts(in, program.HeadStarted) }, "counted as holding a second time"},
		"held too soon":   {func(in *inserter) { counts(in, program.HeadStarted) }, "does not wait for the release"},
		"no count":        {func(in *inserter) { counts(in, program.HeadDummy) }, "is no count of tasks"},
		"another futex":   {func(in *inserter) { in.call(unix.SYS_FUTEX, -1, plan.Extra{}, in.plan.Arena.Base) }, "is not declared"},
		"neither of both": {func(in *inserter) { drop(in, program.OpCall, 0); drop(in, program.OpGate, 0) }, "does not wait for the release"},
	} {
		t.Run(name, func(t *testing.T) {
			in := insertInto(t, good, 1)
			c.change(in)
			if err := model.Verify(&in.plan); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
