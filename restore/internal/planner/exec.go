package planner

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/lookup"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// execve has the arguments of execve(2), addresses in the arena.
type execve struct {
	cell uint64 // holds the path that was found
	envp uint64
}

// find plans the search in PATH for the program that a task becomes. The path found goes
// into a cell. The runner searches before the first clone; a task with other rights
// searches for itself, while its folder is still the runner's.
func (tp *taskPlanner) find() (execve, error) {
	task, p := tp.task, tp.pl.plan
	envp, path := tp.pl.programs.Environment(task)
	places, err := tp.pl.programs.Places(task, path)
	if err != nil {
		return execve{}, err
	}
	run := execve{cell: places.Cell, envp: envp}
	find := &writer{pl: tp.pl, prog: p.Prepare}
	if p.Tree.HasNamespace(tasktree.NamespaceUser) {
		find, p.TasksLook = &tp.writer, true
	}
	find.about(program.VerbFind, task.Run[0].Pos)
	find.add(program.OpFind, places.Addr, uint64(places.N), run.cell, uint64(task.Index), tp.pl.how(unix.O_PATH|unix.O_CLOEXEC))
	find.note().Extra = tp.pl.extra(plan.Extra{
		Path: tp.pl.programs.Shown(task), Hints: lookup.Hints(task.Run[0].Value, tp.pl.rightsHint()),
	})
	if find != &tp.writer {
		p.Prepare = find.prog
	}
	return run, nil
}

// exec plans that a task becomes its program.
func (tp *taskPlanner) exec(run execve) {
	a, task := tp.pl.plan.Arena, tp.task
	argv := make([]string, len(task.Run))
	for i, arg := range task.Run {
		argv[i] = arg.Value
	}
	tp.about(program.VerbExec, task.Run[0].Pos)
	op := tp.call(unix.SYS_EXECVE, run.cell, a.Strings(argv), run.envp)
	op.SetMode(0, program.ModeLoad)
	tp.note().Extra = tp.pl.extra(plan.Extra{Path: argv[0], Hints: []recipe.Hint{
		{Errno: int(unix.ENOEXEC), Text: "neither a binary for this machine nor a script with a #! line"},
		{Errno: int(unix.E2BIG), Text: "arguments and environment together are too long"},
		{Errno: int(unix.ENOENT), Text: "the program or its interpreter does not exist"},
	}})
}
