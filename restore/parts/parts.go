package parts

import (
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/report"
	"regrow/restore/internal/runner"
	"regrow/restore/internal/show"
	"regrow/tasktree"
)

// Parts of a prediction, or of an observation.
type (
	// TaskPrediction is what one task does, and its final table.
	TaskPrediction = model.TaskPrediction
	// Outcome is the end of a task's restore, predicted or real.
	Outcome = plan.Outcome
	// Held is the open file of a descriptor.
	Held = plan.Held
	// FailedOp is an op of a naive plan that fails.
	FailedOp = plan.FailedOp
	// Collision is a descriptor that was needed and that an op of a plan destroyed, by
	// replacing it or by closing it.
	Collision = model.Collision
)

// Parts of a picture of a plan.
type (
	// TaskOfPlan is what one task does.
	TaskOfPlan = show.TaskOfPlan
	// StepOfPlan is one op.
	StepOfPlan = show.StepOfPlan
	// CellOfPlan is what a number of a table refers to, written as in a
	// [restore.Prediction].
	CellOfPlan = show.CellOfPlan
)

// Parts of a report.
type (
	// TaskReport is one task of a [restore.Report]: Name, Parent, PID in the tree's pid
	// namespace, HostPID as the caller sees it (0 if the task had ended), FDs, without the
	// close-on-exec ones if it runs a program, and Shares.
	TaskReport = report.TaskReport
	// SharesReport names the task whose descriptor table a task shares.
	SharesReport = report.SharesReport
	// StoreReport describes what went through the store.
	StoreReport = report.StoreReport
	// Nanoseconds is a duration that is a number in JSON.
	Nanoseconds = report.Nanoseconds
	// Replaced is an open file that a descriptor of the caller's replaces.
	Replaced = plan.Replaced
)

// Replacements lists the replaced open files of a tree ([restore.PlanOptions].Inherit,
// [tasktree.Tree.Replace]), in the order of the description.
func Replacements(t *tasktree.Tree) []Replaced { return plan.Replacements(t) }

// Parts of errors.
type (
	// Lack is something that a line of the description needs and this host lacks: Pos,
	// Msg, and Err, the kernel's answer, which may be nil.
	Lack = plan.Lack
)

// JoinLacks joins the errors of [restore.CheckHost] and [restore.Plan.CheckPaths]. It
// returns a [*restore.HostError] with the lacks of both, nil if both are nil, or both
// errors joined if one is of another type.
func JoinLacks(a, b error) error { return plan.JoinLacks(a, b) }

// Programs reports whether an error is only about programs, and whether one of them is not
// there.
func Programs(err error) (all, notFound bool) { return plan.Programs(err) }

// EndsWithInit is the message why a tree cannot outlive pid 1 ([restore.PlanOptions].Detach).
const EndsWithInit = runner.EndsWithInit
