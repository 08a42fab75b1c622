package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"regrow/images/live"
	"regrow/internal/proc"
	"regrow/restore"
	"regrow/restore/parts"
)

// observation is what the tables of a tree really were when every task was ready.
type observation struct {
	Tasks []parts.Outcome `json:"tasks"` // in the order of the description
}

// observe carries a plan out up to the commit point, looks what each descriptor really
// is, and ends the tree. Of several names that an open file may have, predicted tells
// which is meant. The error is a [*restore.HostError] where the kernel does not tell.
func observe(ctx context.Context, plan *restore.Plan, o restore.Options, predicted *restore.Prediction) (seen *observation, err error) {
	if err := proc.Compares(); err != nil {
		return nil, noKcmp(plan, err)
	}
	err = plan.Rehearse(ctx, o, func(v restore.View) (err error) {
		seen, err = look(plan, v, predicted)
		return noKcmp(plan, err)
	})
	if err != nil {
		return nil, err
	}
	return seen, nil
}

// look reads the tables of a tree in which every task is ready.
func look(plan *restore.Plan, v restore.View, predicted *restore.Prediction) (*observation, error) {
	nothing := func(string, string) bool { return false }
	seen, err := live.Look(v.PIDs[0], live.Options{Wants: nothing, Own: v.Files})
	if err != nil {
		return nil, err
	}
	tables, err := seen.Identify(plan.Tree(), v.PIDs, func(task, fd int) string { return predicted.Tasks[task].Table[fd].File })
	if err != nil {
		return nil, err
	}
	o := &observation{Tasks: make([]parts.Outcome, len(tables))}
	for i, t := range tables {
		o.Tasks[i] = parts.Outcome{Failed: v.Failed[i], Table: make(map[int]parts.Held, len(t.FDs))}
		if t.Shares != nil {
			o.Tasks[i].Shares = t.Shares.Name
		}
		for n, d := range t.FDs {
			name := d.Name
			if name == "" {
				name = "[unknown]"
			}
			o.Tasks[i].Table[n] = parts.Held{File: name, Cloexec: d.Cloexec}
		}
	}
	return o, nil
}

// noKcmp makes a [*restore.HostError] of an error that says that kcmp is refused.
func noKcmp(plan *restore.Plan, err error) error {
	call, ok := errors.AsType[*os.SyscallError](err)
	if !ok || call.Syscall != "kcmp" || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	t := plan.Tree()
	return &restore.HostError{Source: t.Source, Lacks: []parts.Lack{{
		Pos: t.Root.Pos, Err: call,
		Msg: "what a descriptor really is cannot be seen here: kcmp is refused by a sandbox (a seccomp filter) or missing (CONFIG_KCMP); " +
			"allow it there (docker: --cap-add SYS_PTRACE, or --security-opt seccomp=FILE)",
	}}}
}
