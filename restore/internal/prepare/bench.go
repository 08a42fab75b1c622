package prepare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/memory"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// Bounds of a bench, whose calls do not wait for long, and of the end of one that was
// killed: it takes as long as the call that it is in (state D in proc(5)).
const (
	benchFor = 30 * time.Second
	killFor  = 5 * time.Second
)

// bench is a process that makes steps for the runner.
type bench struct {
	*Files
	*plan.Bench
}

// run has the bench do its program. It is gone when this returns, and so are its children.
//
//	aside ─ clone ─ its ops ─ exit ─▶ wait ─ took its status
//	                  └ fails, is killed, takes too long, the restore is given up ─▶ kill ─▶ wait
func (b bench) run() opFailure {
	if err := b.lay(); err != nil {
		return opFailure{err: err}
	}
	// Its end comes with that of the thread, see PR_SET_PDEATHSIG in prctl(2).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var heap []program.Range
	if maps, err := memory.Own(); err == nil { // else it is only slower
		heap = memory.Heap(maps, uint64(reflect.ValueOf(b.Files).Pointer()))
	}
	pid, err := b.arena.Spawn(b.Clone, postfork.SpawnOptions{Record: b.Record, OldClone: b.plan.Host.OldClone, Trace: b.trace != nil, Heap: heap})
	if err != nil {
		return opFailure{err: err}
	}
	pidfd := int(int32(binary.NativeEndian.Uint32(b.cell(b.PIDFD))))
	defer unix.Close(pidfd)
	why := b.await(pidfd)
	if !why.none() {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		if !endsWithin(pidfd, killFor, func() bool { return false }) {
			return opFailure{err: why.err, reason: fmt.Sprintf("process %d, which makes it, cannot be ended", pid)}
		}
	}
	status, err := waitFor(pid)
	good := err == nil && why.none() && status.Exited() && status.ExitStatus() == 0
	if !good {
		b.reapChildren()
	}
	err = errors.Join(err, b.noteNames())
	if good || err != nil {
		return opFailure{err: err}
	}
	if rec := b.arena.Record(b.Record); rec.Errno != 0 {
		i := int(rec.Op)
		why.reason, why.err = words.Reason(b.plan, &b.Ops[i], b.Notes[i], rec.Errno, rec.Got)
		why.prog, why.op = &b.Program, i
		return why
	}
	if why.none() {
		why.reason = fmt.Sprintf("the process that makes it was killed from outside (%v)", status.Signal())
	}
	return why
}

// lay stores the numbers of the open files that the bench uses where it looks for them.
// None may be a number that the bench itself fills.
func (b bench) lay() error {
	aside := lender{numbers: make(map[int]bool, len(b.Numbers))}
	for _, n := range b.Numbers {
		aside.numbers[n] = true
	}
	for i := range b.Ops {
		for arg := range b.Ops[i].Args {
			if b.Ops[i].Mode(arg) != program.ModeSlot {
				continue
			}
			n := b.Ops[i].Args[arg]
			s := &b.slots[n]
			if !s.open {
				continue // it makes that itself
			}
			if aside.fills(s.fd) {
				if err := b.moveAside(s, &aside); err != nil {
					return err
				}
			}
			binary.NativeEndian.PutUint64(b.cell(b.plan.SlotsAt+8*n), uint64(s.fd))
		}
	}
	return nil
}

// await waits until the bench has ended, and says why it must be killed.
func (b bench) await(pidfd int) opFailure {
	switch {
	case endsWithin(pidfd, benchFor, b.undo.GivenUp):
		return opFailure{}
	case b.undo.GivenUp():
		return opFailure{err: plan.ErrCanceled}
	}
	return opFailure{reason: fmt.Sprintf("the process that makes it has not ended after %v", benchFor)}
}

// endsWithin reports whether a process ends within a time, and before somebody gives up.
func endsWithin(pidfd int, within time.Duration, givenUp func() bool) bool {
	const look = 50 * time.Millisecond // a signal may make it shorter
	for deadline := time.Now().Add(within); !proc.Ended(pidfd, look); {
		if givenUp() || time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// noteNames notes in undo the names that the bench has made, up to the op that failed or,
// if it was killed, up to its last note.
func (b bench) noteNames() error {
	rec := b.arena.Record(b.Record)
	for i := range b.Ops {
		if b.Ops[i].Flags&program.FlagUndo == 0 {
			continue
		}
		noted := binary.NativeEndian.Uint32(b.cell(b.Ops[i+1].Args[1])) != 0
		if passed := rec.Errno != 0 && int(rec.Op) > i; !noted && !passed {
			continue
		}
		if err := b.undo.noteThere(b.plan.Extras[b.Notes[i].Extra].Path); err != nil {
			return err
		}
	}
	return nil
}

// reapChildren takes the status of what the bench has made and not waited for. The kernel
// has given it to this process, a subreaper; it ends by itself.
func (b bench) reapChildren() {
	for i := range b.Ops {
		if b.Ops[i].Kind != program.OpChild {
			continue
		}
		cell := b.cell(b.Ops[i].Args[3])
		pid, status := int32(binary.NativeEndian.Uint32(cell)), binary.NativeEndian.Uint32(cell[4:])
		if pid > 0 && status&program.Reaped == 0 {
			_, _ = waitFor(int(pid)) // ECHILD: it had been waited for a moment ago
		}
	}
}

// waitFor takes the status of a child, also of one that ends without a signal.
func waitFor(pid int) (status unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(pid, &status, unix.WALL, nil); !errors.Is(err, unix.EINTR) {
			return status, err
		}
	}
}

// receive takes the files that a bench has sent.
func (f *Files) receive(channel int, op *program.Op) opFailure {
	slots := program.Int32sAt(f.plan.Arena.Base, f.plan.Arena.Data(), op.Args[1], int(op.Args[2]))
	rights := make([]byte, unix.CmsgSpace(4*len(slots)))
	var n, length, flags int
	for {
		var err error
		n, length, flags, _, err = unix.Recvmsg(channel, make([]byte, 1), rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return opFailure{err: err}
		}
		break
	}
	var fds []int
	if messages, err := unix.ParseSocketControlMessage(rights[:length]); err == nil && len(messages) == 1 {
		fds, _ = unix.ParseUnixRights(&messages[0])
	}
	if flags&unix.MSG_CTRUNC != 0 || n != 1 || len(fds) != len(slots) {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return opFailure{err: unix.EMFILE}
		}
		return opFailure{reason: fmt.Sprintf("bug: the bench has sent %d files and not %d", len(fds), len(slots))}
	}
	for i, s := range slots {
		f.slots[s] = slot{fd: fds[i], open: true}
	}
	return opFailure{}
}
