package parts

import (
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/report"
	"regrow/restore/internal/runner"
	"regrow/restore/internal/show"
	"regrow/tasktree"
)

// Of a prediction, or of an observation.
type (
	// TaskPrediction is what one task does, and what it has in the end.
	TaskPrediction = model.TaskPrediction
	// Outcome is the end of a task's restore: predicted, or what really was.
	Outcome = plan.Outcome
	// Held is what a descriptor is.
	Held = plan.Held
	// FailedOp is an op of a naive plan that fails.
	FailedOp = plan.FailedOp
	// Collision is a descriptor that was needed and that an op of a plan destroyed,
	// by writing over it or by closing it.
	Collision = model.Collision
)

// Of a picture of a plan.
type (
	// TaskOfPlan is what one task does.
	TaskOfPlan = show.TaskOfPlan
	// StepOfPlan is one op.
	StepOfPlan = show.StepOfPlan
	// CellOfPlan is what a number of a table holds, written as in a [restore.Prediction].
	CellOfPlan = show.CellOfPlan
)

// Of a report.
type (
	// TaskReport is one task of a [restore.Report]: Name, Parent, PID in the tree's pid
	// namespace, HostPID as the caller sees it (0 if it had ended), FDs, of which a
	// program has lost the close-on-exec ones, and Shares.
	TaskReport = report.TaskReport
	// SharesReport says whose descriptor table a task has.
	SharesReport = report.SharesReport
	// StoreReport says what kept the open files.
	StoreReport = report.StoreReport
	// Nanoseconds is a time that is written to JSON as a number.
	Nanoseconds = report.Nanoseconds
	// Replaced is an open file in whose place a descriptor of the caller's comes.
	Replaced = plan.Replaced
)

// Replacements lists what is replaced in a tree, by [restore.PlanOptions].Inherit or
// [tasktree.Tree.Replace], in the order of the description.
func Replacements(t *tasktree.Tree) []Replaced { return plan.Replacements(t) }

// Of errors.
type (
	// Lack is one thing that a line of the description needs and this host lacks:
	// Pos, Msg, and Err, what the kernel answered, which may be nil.
	Lack = plan.Lack
)

// JoinLacks gives one error for all that two errors of [restore.CheckHost] and
// [restore.Plan.CheckPaths] say: a [*restore.HostError], nil if there is nothing, or both
// joined if one is none of these.
func JoinLacks(a, b error) error { return plan.JoinLacks(a, b) }

// Programs reports whether programs are all that an error is about, and whether one of
// them is not there.
func Programs(err error) (all, notFound bool) { return plan.Programs(err) }

// EndsWithInit says why pid 1 cannot let a tree live on ([restore.PlanOptions].Detach).
const EndsWithInit = runner.EndsWithInit
