//go:build linux

package execfd

import (
	"math"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sequence has the data for the last steps, in which a number may be another file than
// the runtime expects.
type sequence struct {
	moves   []move
	back    []move // restores the runtime's own files if execve fails
	program *byte
	args    **byte
	env     **byte
	signals uintptr // size of a set of signals in bytes
	limit   *limit  // RLIMIT_NOFILE of the program, nil: that of this process
	raised  limit   // RLIMIT_NOFILE of this process
}

// limit is struct rlimit64.
type limit struct{ soft, hard uint64 }

// limits returns RLIMIT_NOFILE now, and before Go raised it. was is nil if Go has not
// raised it, or if it was changed since.
func limits() (was *limit, now limit, err error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return nil, now, os.NewSyscallError("getrlimit", err)
	}
	now = limit{r.Cur, r.Max}
	soft, hard, known := StartLimit()
	// Go raises it to the hard limit, or to one less, see rlimit.go of package syscall.
	if known && soft < hard && now.hard == hard && (now.soft == hard || now.soft == hard-1) {
		was = &limit{soft, hard}
	}
	return was, now, nil
}

// signals has a bit for each signal: MIPS has 128 of them, all others have 64.
type signals [2]uint64

// newSequence allocates everything that the last steps need.
func newSequence(p Program, moves, back []move) (*sequence, error) {
	program, err := unix.BytePtrFromString(p.Path)
	if err != nil {
		return nil, err
	}
	args, err := syscall.SlicePtrFromStrings(p.Args)
	if err != nil {
		return nil, err
	}
	env, err := syscall.SlicePtrFromStrings(p.Env)
	if err != nil {
		return nil, err
	}
	was, now, err := limits()
	if err != nil {
		return nil, err
	}
	s := &sequence{moves: moves, back: back, program: program, args: &args[0], env: &env[0], signals: 8, limit: was, raised: now}
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		s.signals = 16
	}
	return s, nil
}

// run moves the files and calls execve. If it returns, at is the index of the move that
// failed, or the number of moves if execve failed.
func (s *sequence) run() (at int, errno unix.Errno) {
	at, errno = s.raw()
	runtime.KeepAlive(s)
	return at, errno
}

// raw must not let the scheduler and the garbage collector run in this thread, because
// they would use the runtime's epoll instance by its number. So it allocates nothing,
// calls no function with a preemption check, and blocks the preemption signal. Its own
// prologue may be preempted: nothing is moved at that point.
//
//go:norace
func (s *sequence) raw() (at int, errno unix.Errno) {
	all, before := signals{math.MaxUint64, math.MaxUint64}, signals{}
	_, _, errno = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&before)), s.signals, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for at = range s.moves {
		if errno = s.moves[at].put(0); errno != 0 {
			break
		}
	}
	if errno == 0 {
		at = len(s.moves)
		errno = s.exec(&all, &before)
	}
	for i := range s.back {
		_ = s.back[i].put(unix.O_CLOEXEC)
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&before)), 0, s.signals, 0, 0)
	return at, errno
}

// exec restores the limit and unblocks signals, because a program inherits the mask, and
// calls execve. If execve fails, exec undoes both. A signal cannot preempt a nosplit
// function.
//
//go:nosplit
//go:norace
func (s *sequence) exec(all, before *signals) (errno unix.Errno) {
	if s.limit != nil {
		_, _, _ = unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(s.limit)), 0, 0, 0)
	}
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(before)), 0, s.signals, 0, 0)
	_, _, errno = unix.RawSyscall6(unix.SYS_EXECVE, uintptr(unsafe.Pointer(s.program)), uintptr(unsafe.Pointer(s.args)), uintptr(unsafe.Pointer(s.env)), 0, 0, 0)
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(all)), 0, s.signals, 0, 0)
	if s.limit != nil {
		_, _, _ = unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&s.raised)), 0, 0, 0)
	}
	return errno
}

// put moves a file to its number. If it is there already, where dup3 would fail, put only
// clears close-on-exec.
//
//go:nosplit
//go:norace
func (m move) put(flags uintptr) (errno unix.Errno) {
	if m.from == m.to {
		_, _, errno = unix.RawSyscall(unix.SYS_FCNTL, uintptr(m.to), unix.F_SETFD, 0)
		return errno
	}
	_, _, errno = unix.RawSyscall(unix.SYS_DUP3, uintptr(m.from), uintptr(m.to), flags)
	return errno
}
