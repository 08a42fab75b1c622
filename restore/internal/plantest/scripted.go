package plantest

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Scripted is an attribute for tests: its steps are what a test says.
type Scripted func(recipe.Wirer)

func init() {
	tasktree.RegisterAttribute(tasktree.AttributeKind{
		Keys: []string{"scripted"}, New: func() tasktree.Attribute { return Scripted(nil) },
	})
}

// Steps makes the list of attributes of a task that has this one.
func Steps(steps Scripted) []tasktree.Attribute { return []tasktree.Attribute{steps} }

// Fields implements [schema.Fielder].
func (Scripted) Fields(schema.Fields) {}

// Key implements [tasktree.Attribute].
func (Scripted) Key() string { return "scripted" }

// Said implements [tasktree.Attribute].
func (s Scripted) Said() bool { return s != nil }

// Check implements [tasktree.Attribute].
func (Scripted) Check(*tasktree.Task, func(tasktree.Problem)) {}

// Wire implements [tasktree.Attribute].
func (s Scripted) Wire(w recipe.Wirer) { s(w) }

// DrawWaits has tasks of a checked tree wait for one another at random, not always in a
// way that can be, and one that could be a zombie end by plan.
func DrawWaits(t *rapid.T, tree *tasktree.Tree) {
	tasks := tree.Tasks()
	for range rapid.IntRange(0, 4).Draw(t, "waits") {
		waiter := tasks[rapid.IntRange(0, len(tasks)-1).Draw(t, "waiter")]
		awaited := tasks[rapid.IntRange(0, len(tasks)-1).Draw(t, "awaited")]
		before := recipe.Stage(rapid.IntRange(0, int(recipe.Stages)-1).Draw(t, "before"))
		until := recipe.Stage(rapid.IntRange(0, int(recipe.Stages)-1).Draw(t, "until"))
		var others Scripted
		if len(waiter.Attributes) > 0 {
			others, _ = waiter.Attributes[0].(Scripted)
		}
		waiter.Attributes = Steps(func(w recipe.Wirer) {
			if others != nil {
				others(w)
			}
			w.After(before, awaited.Name, until)
		})
	}
	last := tasks[len(tasks)-1]
	if last.Parent != nil && len(last.FDs) == 0 && last.Holds() && last.Owner == nil && len(last.Attributes) == 0 && rapid.Bool().Draw(t, "ends") {
		last.Attributes = Steps(func(w recipe.Wirer) { w.Leave(LeaveCall(EndStatus)) })
	}
}

// sleepCall has a task sleep.
func sleepCall(nanoseconds int64) recipe.Call {
	return recipe.Call{
		Name: "nanosleep", Nr: unix.SYS_NANOSLEEP, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.Struct(recipe.Int(0), recipe.Int(nanoseconds)), recipe.Int(0)},
	}
}

// NiceCall gives the task a nice value.
func NiceCall(value int64) recipe.Call {
	return recipe.Call{
		Name: "setpriority", Nr: unix.SYS_SETPRIORITY, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.Int(unix.PRIO_PROCESS), recipe.Int(0), recipe.Int(value)},
	}
}

// DemandNice demands that another task has a nice value by now.
func DemandNice(task string, value int64) recipe.Call {
	return recipe.Call{
		Name: "getpriority", Nr: unix.SYS_GETPRIORITY, Effect: recipe.Nothing, HasWant: true, Want: 20 - value,
		Args: []recipe.Arg{recipe.Int(unix.PRIO_PROCESS), recipe.PID(task)},
	}
}

// LeaveCall ends a task with a status.
func LeaveCall(status int64) recipe.Call {
	return recipe.Call{Name: "exit_group", Nr: unix.SYS_EXIT_GROUP, Effect: recipe.Ends, Args: []recipe.Arg{recipe.Int(status)}}
}

// ReapCall waits for the end of a child, and leaves it a zombie.
func ReapCall(task string) recipe.Call {
	return recipe.Call{
		Name: "waitid", Nr: unix.SYS_WAITID, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.Int(unix.P_PID), recipe.PID(task), recipe.Int(0), recipe.Int(unix.WEXITED | unix.WNOWAIT), recipe.Int(0)},
	}
}

// EndStatus is what the task of the reference that ends by plan ends with.
const EndStatus = 7

// first keeps its pid and signals itself by that, in a signal that says another task's,
// and becomes nice late.
func first(other string) Scripted {
	return func(w recipe.Wirer) {
		self := w.Result(recipe.Enter, recipe.Call{Name: "getpid", Nr: unix.SYS_GETPID, Effect: recipe.Nothing})
		head := binary.NativeEndian.AppendUint32(nil, uint32(unix.SIGURG)) // which is ignored by default
		queued := int32(-1)                                                // SI_QUEUE
		head = binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(head, 0), uint32(queued))
		w.Call(recipe.Turns, recipe.Call{
			Name: "rt_sigqueueinfo", Nr: unix.SYS_RT_SIGQUEUEINFO, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.Number(self), recipe.Int(int64(unix.SIGURG)), recipe.Struct(
				recipe.Data(append(head, 0, 0, 0, 0)), recipe.PID(other), recipe.Data(make([]byte, 108)))},
		})
		w.Call(recipe.Wired, sleepCall(20e6))
		w.Call(recipe.Wired, NiceCall(3))
	}
}

// then waits for a task, and for the end of its own child.
func then(before, child string) Scripted {
	return func(w recipe.Wirer) {
		w.After(recipe.Place, before, recipe.Wired)
		w.Call(recipe.Place, DemandNice(before, 3))
		w.Call(recipe.Deaths, ReapCall(child))
	}
}
