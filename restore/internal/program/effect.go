package program

import "golang.org/x/sys/unix"

// Effect is what a call changes in the state that the model of descriptor tables keeps. The
// model refuses a plan with a call whose effect is not declared.
type Effect uint8

// The effects. The first of them are those of package recipe.
const (
	EffectUndeclared Effect = iota
	EffectNothing           // only the open files and the memory that the arguments name
	EffectGivesFD           // the result is a new descriptor, the lowest that is free
	EffectGivesPair         // the same of two
	EffectCloses            // argument 0 is free then
	EffectSession           // the task leads a session of its own
	EffectGroup             // it is in another process group
	EffectUser              // it has other rights
	EffectLimit             // a resource limit is another
	EffectNamespace         // it is in another namespace
	EffectFolder            // its folder is another
	EffectEnds              // it is gone

	EffectCopies      // the result is a new descriptor of what argument 0 has open
	EffectReplaces    // argument 1 becomes a descriptor of what argument 0 has open
	EffectClosesRange // arguments 0 to 1 are free then
	EffectCloexec     // argument 0 has another close-on-exec flag
	EffectOwnTable    // the task has a copy of the table that it shared
	EffectBecomes     // the task is another program, if all goes well
	EffectMaps        // memory of what argument 4 has open, or of no file (MAP_ANONYMOUS): see plan.Extra.Uses
	EffectCounts      // the count of tasks at the address in argument 4 is one less
)

// EffectOf gives the effect of a system call if it follows from the call's number and
// command. ok is false for other calls: their recipe declares it.
func EffectOf(op *Op) (e Effect, ok bool) {
	switch op.Nr {
	case unix.SYS_FCNTL:
		switch op.Args[1] {
		case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
			return EffectCopies, true
		case unix.F_SETFD:
			return EffectCloexec, true
		}
		return EffectUndeclared, false
	case unix.SYS_UNSHARE:
		if op.Args[0] == unix.CLONE_FILES {
			return EffectOwnTable, true
		}
		return EffectNamespace, true
	case unix.SYS_FUTEX:
		if op.Args[1] == futexWakeOp && op.Args[5] == countDown {
			return EffectCounts, true
		}
		return EffectUndeclared, false
	case unix.SYS_PRCTL:
		if op.Args[0] == unix.PR_SET_NAME {
			return EffectNothing, true
		}
		return EffectUndeclared, false
	}
	e = callRows[op.Nr].Effect
	return e, e != EffectUndeclared
}
