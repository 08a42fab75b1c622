package host

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// probes ask this host for what a tree can need. Each makes the call that the
// restore would make, rather than asking for a version or a capability, and
// leaves nothing behind. Tests put answers in their place.
type probes struct {
	// closeRange tries close_range(2), since Linux 5.9, where no descriptor is.
	closeRange func() error
	// proc looks whether /proc is there and is that of this pid namespace.
	proc func() error
	// clone makes a task in these new namespaces, which maps its user and
	// ends: user namespaces as an ordinary user since Linux 3.8, where no
	// sysctl, security module or sandbox forbids them.
	Clone func(plan.Host, []tasktree.Namespace) error
	// choosePIDs asks for a pid, see [postfork.MayChoosePIDs]; since Linux 5.5,
	// with CAP_CHECKPOINT_RESTORE since 5.9.
	choosePIDs func() bool
	// pipe gives a pipe this capacity in bytes: F_SETPIPE_SZ, since Linux
	// 2.6.35.
	pipe func(size int64) error
	// unixOOB sends an out-of-band byte over a pair of Unix sockets, since Linux 5.15.
	unixOOB func() error
	// nice gives this process's nice value, and an error if a task cannot have
	// that one: below it with RLIMIT_NICE, or with CAP_SYS_NICE, which a user
	// namespace of its own does not give.
	nice func(value int, userNamespace bool) (now int, err error)
	// hugePages gives how many huge pages of so many bytes are free, and whether
	// there are any of this size.
	hugePages func(size int64) (free int64, there bool)
	// room gives how many processes there may be beside those that there are, and
	// which limit says so.
	Room func() (int, string)
	// calls gives the calls that every restore makes and that are refused.
	calls func() []refusedCall
	// sys reads a parameter of /proc/sys, "" if it is not there.
	sys func(name string) string
	// status reads a field of /proc/self/status, "" if it is not there.
	status func(name string) string
}

// ThisKernel asks the kernel. A yes to clone is kept, because that costs a fork;
// a no is asked for again, since limits change.
var ThisKernel = probes{
	nice:       mayBeNice,
	closeRange: func() error { return unix.CloseRange(1<<31, 1<<31, 0) },
	proc:       proc.Usable,
	Clone:      tryCloneOnce,
	choosePIDs: postfork.MayChoosePIDs,
	pipe:       tryPipe,
	hugePages:  freeHugePages,
	unixOOB:    tryUnixOOB,
	Room:       proc.PidsLeft,
	calls:      tryCalls,
	sys: func(name string) string {
		value, _ := proc.Sys(name)
		return value
	},
	status: func(name string) string {
		value, _ := proc.StatusField(proc.Caller, name)
		return value
	},
}

// tryPipe leaves the pipe's content out: only the array of its pages is made, 10
// bytes a KiB.
func tryPipe(size int64) error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(ends[0])
	defer unix.Close(ends[1])
	_, err := unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, int(size))
	return os.NewSyscallError("fcntl(F_SETPIPE_SZ)", err)
}

func tryUnixOOB() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	return os.NewSyscallError("sendto(MSG_OOB)", unix.Sendto(pair[0], []byte{1}, unix.MSG_OOB|unix.MSG_DONTWAIT, nil))
}

var (
	cloned   = map[uint64]bool{} // namespaces that were made, by flags of clone(2)
	clonedMu sync.Mutex
)

func tryCloneOnce(host plan.Host, namespaces []tasktree.Namespace) error {
	t := &tasktree.Tree{Root: &tasktree.Task{Name: "probe"}}
	for _, n := range namespaces {
		t.Namespaces = append(t.Namespaces, tasktree.NamespaceItem{Name: n})
	}
	t.Root.Namespaces = t.Namespaces
	clonedMu.Lock()
	defer clonedMu.Unlock()
	flags := assign.CloneNamespaces(t.Root)
	if cloned[flags] {
		return nil
	}
	err := tryClone(t, host)
	if errors.Is(err, errProbeKilled) {
		err = tryClone(t, host) // who kills it once will not do so twice, unless it is a sandbox
	}
	cloned[flags] = err == nil
	return err
}

// tryClone makes the root of a tree as its restore would, with a program that
// maps its user and ends.
func tryClone(t *tasktree.Tree, host plan.Host) error {
	for try := range program.BaseTries {
		p := planner.Probe(t, host, program.Place(try))
		arena, err := postfork.Map(p.Arena.Base, p.ArenaSize(), nil)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return err
		}
		return errors.Join(probe(p, arena), arena.Unmap())
	}
	return os.NewSyscallError("mmap", unix.EEXIST)
}

// probe carries a plan of planner.Probe out and takes the task's end.
func probe(p *plan.Plan, arena *postfork.Arena) error {
	const patience = 10 * time.Second // the task makes a dozen calls
	copy(arena.Bytes()[program.HeadSize:], p.Arena.Data()[program.HeadSize:])
	arena.PutOps(p.OpsBase(), p.Tasks[0].Ops)
	h, rec := arena.Head(), arena.Record(0)
	h.Base, h.Size, h.Records, h.Private = arena.Base, arena.Size(), p.Arena.Record(0), p.Arena.Private()
	rec.Ops = p.OpsBase()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := arena.Spawn(p.RootClone, postfork.SpawnOptions{OldClone: p.Host.OldClone})
	if err != nil {
		return os.NewSyscallError(words.CloneName(p), err)
	}
	pidfd := int(int32(h.RootPIDFD))
	defer unix.Close(pidfd)
	for deadline := time.Now().Add(patience); !proc.Ended(pidfd, time.Second); { // a signal may cut it short
		if time.Now().After(deadline) {
			_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
			_ = proc.Ended(pidfd, patience)
			break
		}
	}
	_ = safepath.IgnoringEINTR(func() error {
		_, err := unix.Wait4(pid, nil, unix.WNOHANG, nil) // nobody else waits for it, so the number is still its own
		return err
	})
	switch {
	case rec.Errno != 0:
		op, note := &p.Tasks[0].Ops[rec.Op], p.Tasks[0].Notes[rec.Op]
		why, err := words.Reason(p, op, note, rec.Errno, rec.Got)
		if err == nil {
			err = errors.New(why)
		}
		return &probeError{words.CallName(p, op, note), err}
	case rec.Begun == 0:
		return errProbeKilled
	}
	return nil
}

// errProbeKilled says that the task could not even fail.
var errProbeKilled = errors.New("the task that tried it was killed")

// probeError says that the kernel made a task and then refused it something.
type probeError struct {
	call string
	err  error
}

// Error gives `write "/proc/self/uid_map": operation not permitted`.
func (e *probeError) Error() string { return e.call + ": " + e.err.Error() }

// Unwrap gives the errno.
func (e *probeError) Unwrap() error { return e.err }

// mayBeNice tries a nice value with one thread, which goes back to what it had.
func mayBeNice(value int, userNamespace bool) (now int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 - nice, so that it is no errno
	if err != nil {
		return 0, os.NewSyscallError("getpriority", err)
	}
	now = 20 - raw
	if value >= now {
		return now, nil
	}
	var limit unix.Rlimit
	if userNamespace {
		if err := unix.Getrlimit(unix.RLIMIT_NICE, &limit); err != nil || uint64(20-value) > limit.Cur {
			return now, os.NewSyscallError("setpriority", unix.EACCES)
		}
		return now, nil
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, value); err != nil {
		return now, os.NewSyscallError("setpriority", err)
	}
	return now, os.NewSyscallError("setpriority", unix.Setpriority(unix.PRIO_PROCESS, 0, now))
}
