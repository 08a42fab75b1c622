// Package restore restores a described process tree:
//
//	tree, err := images.Load("tree.yaml")
//	host, err := restore.ThisHost()
//	plan, err := restore.NewPlan(tree, host, restore.PlanOptions{})
//	live, err := restore.Start(ctx, plan, restore.Options{})
//	status, err := live.Wait()
//
// A [Plan] decides every system call and descriptor number in advance. It can be
// verified, predicted and printed. Planning is pure. [Start] carries the plan out.
// Until it releases the tree, a failure, a signal or the death of this process leaves
// no task behind. Package parts names the types within reports, predictions and errors.
package restore
