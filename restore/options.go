package restore

import (
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/runner"
)

// PlanOptions are options of [NewPlan]. The zero value works.
type PlanOptions struct {
	// Inherit has the caller's descriptors that the tree may inherit, by key: the key
	// of an inherit, or the name of an open file, which the descriptor replaces
	// ([tasktree.Tree.Replace]). stdin, stdout and stderr need not be listed. Default:
	// no others.
	Inherit map[string]int

	// WithoutStdin refuses to inherit descriptor 0 of the caller, for a description that
	// was read from it. Default: false.
	WithoutStdin bool

	// Detach puts the root into a session and a process group of its own. Default:
	// false.
	Detach bool

	// Strategy decides how open files get into the tables of the tasks. Default:
	// [StrategyFDStore].
	Strategy Strategy

	// Naive plans as restorers did that ran into conflicts: helpers are placed at the
	// lowest number, and descriptors are installed in the order listed, over whatever
	// is there. [Plan.Predict] tells what is lost. If an op of a task fails, the task
	// records it and goes on. Default: false.
	Naive bool

	// ServiceFD places the store at this number while tasks are restored. A careful
	// plan moves the store in tasks that need the number, a naive plan does not.
	// [StrategyInherit] ignores it. Default: nil, the planner chooses.
	ServiceFD *int
}

func (o PlanOptions) inner() plan.Options {
	return plan.Options{
		Inherit: o.Inherit, WithoutStdin: o.WithoutStdin, Detach: o.Detach, Strategy: o.Strategy, Naive: o.Naive, ServiceFD: o.ServiceFD,
	}
}

// Options are options of [Start]. The zero value works.
type Options struct {
	// Timeout bounds the time until release. Default: no bound.
	Timeout time.Duration

	// Began is the time at which Timeout begins. Default: the call of Start.
	Began time.Time

	// Log gets changes of stage (Info), each pull and install (Debug, with the fields
	// task, pid, fd, file), and the reason if tasks must keep memory of the C library
	// (Debug). Default: nothing is logged.
	Log logrus.FieldLogger

	// Progress is called with the progress of the restore, 20 times a second from the
	// first clone on, by one goroutine. Release waits for the call with Over. Default: nil.
	Progress func(Progress)

	// Trace gets the times of all steps of regrow and of each task as Chrome trace events
	// (JSON), when the tree is released or the restore has failed. Default: nothing is
	// traced, and tasks do not read the clock.
	Trace io.Writer

	// Alone says that this program has no children when it calls Start, and starts none
	// before the tree has ended. Then each child that it gets belongs to the tree and
	// ends with it. Default: only the tasks and the processes found below them belong
	// to the tree. Orphans that its programs leave (daemons) may outlive it.
	Alone bool
}

func (o Options) inner() runner.Options {
	return runner.Options{Timeout: o.Timeout, Began: o.Began, Log: o.Log, Progress: o.Progress, Trace: o.Trace, Alone: o.Alone}
}
