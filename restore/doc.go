// Package restore brings a described process tree to life:
//
//	tree, err := images.Load("tree.yaml")
//	host, err := restore.ThisHost()
//	plan, err := restore.NewPlan(tree, host, restore.PlanOptions{})
//	live, err := restore.Start(ctx, plan, restore.Options{})
//	status, err := live.Wait()
//
// Planning is pure: a [Plan] is one program of system calls for each task and one for this
// process, with every descriptor number decided beforehand, to be verified, predicted and
// shown. [Start] carries it out:
//
//	here:   open shared files ─▶ fill the store ─▶ clone the root ─▶ wait ─▶ release
//	                                                    │             ▲
//	tasks:                              fork children, pull, open, install ─▶ hold or exec
//
// Release is the commit point: until then a failure, a signal or the death of this process
// leaves no task behind. How open files get into the tasks is a [Strategy], each with a
// naive form that loses descriptors as restorers did. [Observe] restores up to the commit
// point and reads back what each descriptor really is.
package restore
