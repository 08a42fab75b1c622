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

// sequence is what is left to do once the first number may be another file than
// the runtime believes.
type sequence struct {
	moves   []move
	back    []move // what puts the runtime's own files where they were
	program *byte
	args    **byte
	env     **byte
	signals uintptr // bytes of a set of signals
	limit   *limit  // what the program shall have, nil: what this process has
	raised  limit   // what this process has
}

// limit is struct rlimit64.
type limit struct{ soft, hard uint64 }

// limits gives the RLIMIT_NOFILE that Go has raised, and what it was before: nil if Go
// has not, or somebody has changed it since.
func limits() (was *limit, now limit, err error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return nil, now, os.NewSyscallError("getrlimit", err)
	}
	now = limit{r.Cur, r.Max}
	soft, hard, known := StartLimit()
	// To the hard one, or one less, see rlimit.go of package syscall.
	if known && soft < hard && now.hard == hard && (now.soft == hard || now.soft == hard-1) {
		was = &limit{soft, hard}
	}
	return was, now, nil
}

// signals has a bit for each signal: MIPS has 128 of them, all others have 64.
type signals [2]uint64

// newSequence makes all that needs memory.
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

// run places the files and calls execve. If it returns, it gives the move that
// failed, or their number where execve did.
func (s *sequence) run() (at int, errno unix.Errno) {
	at, errno = s.raw()
	runtime.KeepAlive(s)
	return at, errno
}

// raw must give the scheduler and the collector no turn in this thread: they would
// use the runtime's epoll instance by its number. So it allocates nothing, calls
// nothing that looks for a preemption, and blocks the signal that asks for one. Its
// own prologue may give a turn: nothing is moved by then.
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

// exec lowers the limit, allows signals, since a program inherits what is blocked, and
// calls execve. If that fails, it takes both back. Nowhere in a function that may not
// split its stack can a signal preempt it.
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

// put gives a file its number. A file that is there already, which dup3 refuses,
// only loses close-on-exec.
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
