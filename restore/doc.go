// Package restore brings a described process tree to life:
//
//	tree, err := images.Load("tree.yaml")
//	host, err := restore.ThisHost()
//	plan, err := restore.NewPlan(tree, host, restore.PlanOptions{})
//	live, err := restore.Start(ctx, plan, restore.Options{})
//	status, err := live.Wait()
//
// A [Plan] decides every system call and descriptor number beforehand, and can be verified,
// predicted and shown; planning is pure. [Start] carries it out. Until it releases the tree,
// a failure, a signal or the death of this process leaves no task behind. Package parts
// names what reports, predictions and errors are made of.
package restore
