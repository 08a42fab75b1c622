package restore

import (
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/runner"
)

// PlanOptions says how a tree is to be planned. The zero value works.
type PlanOptions struct {
	// Inherit gives the caller's descriptors that the tree may take over, by
	// key: that of an inherit, or the name of an open file, whose place the
	// descriptor takes ([tasktree.Tree.Replace]). stdin, stdout and stderr are
	// there without being named. Default: no others.
	Inherit map[string]int

	// WithoutStdin refuses descriptor 0 of the caller: the description came
	// from there. Default: false.
	WithoutStdin bool

	// Detach gives the root task a session and a process group of its own.
	// Default: false.
	Detach bool

	// Strategy is how open files get into the tables of the tasks. Default:
	// [StrategyFDStore].
	Strategy Strategy

	// Naive plans as restorers did that ran into conflicts: helper descriptors
	// at the lowest number, descriptors installed in the order listed over
	// whatever is there. What goes wrong then is part of the plan, see
	// [Plan.Predict]; a failed op is noted and the task goes on. Default: false.
	Naive bool

	// ServiceFD is where the descriptor of the store sits while tasks are
	// restored: a careful plan moves it away in tasks that need the number, a
	// naive one does not. It means nothing to [StrategyInherit]. Default: nil,
	// the planner chooses.
	ServiceFD *int
}

func (o PlanOptions) inner() plan.Options {
	return plan.Options{
		Inherit: o.Inherit, WithoutStdin: o.WithoutStdin, Detach: o.Detach, Strategy: o.Strategy, Naive: o.Naive, ServiceFD: o.ServiceFD,
	}
}

// Options says how a plan is to be carried out. The zero value works.
type Options struct {
	// Timeout bounds the time until release. Default: no bound.
	Timeout time.Duration

	// Began is when Timeout begins to count. Default: the call of Start.
	Began time.Time

	// Log gets stage changes (Info) and each pull and install (Debug, with
	// the fields task, pid, fd, file), and if tasks must keep memory of the C
	// library, why (Debug). Default: nothing is logged.
	Log logrus.FieldLogger

	// Progress is told how far the restore is, 20 times a second from the first
	// clone on, by one goroutine. The release waits for the call that says Over.
	// Default: nobody is told.
	Progress func(Progress)

	// Trace gets, when the tree is released or the restore has failed, what
	// regrow and each task did when, as Chrome trace events (JSON). Default:
	// nothing is traced, and tasks do not look at the clock.
	Trace io.Writer

	// Alone says that this program has no children when it calls Start, and starts
	// none before the tree has ended: then every child that it comes to have is the
	// tree's, and ends with it. Default: only the tasks are the tree's, with what is
	// found below them; what its programs leave as orphans (daemons) may outlive it.
	Alone bool
}

func (o Options) inner() runner.Options {
	return runner.Options{Timeout: o.Timeout, Began: o.Began, Log: o.Log, Progress: o.Progress, Trace: o.Trace, Alone: o.Alone}
}
