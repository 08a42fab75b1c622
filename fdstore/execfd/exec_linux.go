package execfd

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/fdstore/internal/borrow"
)

func exec(p Program) error {
	if len(p.Args) == 0 {
		p.Args = []string{p.Path}
	}
	if p.Env == nil {
		p.Env = os.Environ()
	}
	var moves []move
	var files []*os.File
	for to, f := range p.Files {
		if to < 0 || to > math.MaxInt32 {
			return fmt.Errorf("execfd: no descriptor can have the number %d", to)
		}
		if f == nil {
			return fmt.Errorf("execfd: file for descriptor %d: %w", to, os.ErrInvalid)
		}
		moves = append(moves, move{to: to})
	}
	slices.SortFunc(moves, func(a, b move) int { return a.to - b.to })
	for _, m := range moves {
		files = append(files, p.Files[m.to])
	}
	err := borrow.Files(files, func(fds []int) error {
		for i, fd := range fds {
			moves[i].from = fd
		}
		return onThread(p, moves)
	})
	if e, own := errors.AsType[*borrow.Error](err); own {
		return fmt.Errorf("execfd: file for descriptor %d: %w", moves[e.Index].to, e.Err)
	}
	return err
}

// move is one file on its way to its number.
type move struct{ from, to int }

// onThread works in a thread that ends afterwards, since its table is a copy.
func onThread(p Program, moves []move) error {
	// From the first dup3 on the number of the runtime's epoll instance may be
	// another file in this thread. The runtime looks at it in a thread that runs
	// out of work, which one that is locked to a goroutine never does, and where
	// the world starts again after a garbage collection.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	return inThread(func() error { return place(p, moves) })
}

// inThread calls f in a thread that ends with the call, if it returns.
func inThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread never ends, and its copy would keep files open
			// for ever. While it is locked here, the next goroutine gets another.
			result <- inThread(f)
			runtime.UnlockOSThread()
			return
		}
		result <- f() // not unlocked: the thread ends with the goroutine
	}()
	return <-result
}

// place changes a copy of the table and calls execve.
func place(p Program, moves []move) error {
	if err := ownTable(); err != nil {
		return err
	}
	if err := outOfTheWay(moves); err != nil {
		return err
	}
	for _, m := range moves {
		if err := put(m); err != nil {
			return fmt.Errorf("execfd: descriptor %d: %w", m.to, err)
		}
	}
	return &os.PathError{Op: "exec", Path: p.Path, Err: unix.Exec(p.Path, p.Args, p.Env)}
}

// ownTable gives this thread a descriptor table of its own. Sandboxes that refuse
// unshare(2) let close_range(2) pass; older kernels do it the other way round.
func ownTable() error {
	err := unix.CloseRange(math.MaxUint32, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE)
	if err == nil {
		return nil
	}
	if err2 := unix.Unshare(unix.CLONE_FILES); err2 != nil {
		return fmt.Errorf("execfd: a table of its own for this thread: %w, %w",
			os.NewSyscallError("close_range", err), os.NewSyscallError("unshare", err2))
	}
	return nil
}

// outOfTheWay moves files that lie where another one belongs.
func outOfTheWay(moves []move) error {
	free := 0 // above every number that is wanted
	for _, m := range moves {
		free = max(free, m.to+1)
	}
	moved := map[int]int{}
	for i, m := range moves {
		if !slices.ContainsFunc(moves, func(other move) bool { return other.to == m.from && other.from != m.from }) {
			continue
		}
		fd, ok := moved[m.from]
		if !ok {
			var err error
			if fd, err = unix.FcntlInt(uintptr(m.from), unix.F_DUPFD_CLOEXEC, free); err != nil {
				return fmt.Errorf("execfd: file for descriptor %d: %w", m.to, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err))
			}
			moved[m.from] = fd
		}
		moves[i].from = fd
	}
	return nil
}

func put(m move) error {
	if m.from == m.to { // dup3 refuses equal numbers
		_, err := unix.FcntlInt(uintptr(m.to), unix.F_SETFD, 0)
		return os.NewSyscallError("fcntl F_SETFD", err)
	}
	return os.NewSyscallError("dup3", unix.Dup3(m.from, m.to, 0))
}
