package execfd

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
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
			return fmt.Errorf("execfd: %d is not a valid descriptor number", to)
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

// move is a file and its number in the program.
type move struct{ from, to int }

// onThread runs place in a thread that ends afterwards, because its table is a copy.
func onThread(p Program, moves []move) error {
	return inThread(func() error { return place(p, moves) })
}

// inThread calls f in a thread that ends when f returns.
func inThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The first thread never ends, so its copy would keep files open
			// forever. It is locked here, so the next goroutine gets another.
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
	// While a thread that shares its folder and umask with others is in execve, the
	// kernel refuses new threads (EAGAIN), and the runtime retries only for a short
	// time. If a sandbox refuses this call, go on without it.
	_ = unix.Unshare(unix.CLONE_FS)
	if err := outOfTheWay(moves); err != nil {
		return err
	}
	back, err := keep(moves)
	if err != nil {
		return err
	}
	s, err := newSequence(p, moves, back)
	if err != nil {
		return &os.PathError{Op: "exec", Path: p.Path, Err: err}
	}
	at, errno := s.run()
	switch {
	case at == len(moves):
		return &os.PathError{Op: "exec", Path: p.Path, Err: errno}
	case moves[at].from == moves[at].to:
		return fmt.Errorf("execfd: descriptor %d: %w", moves[at].to, os.NewSyscallError("fcntl F_SETFD", errno))
	default:
		return fmt.Errorf("execfd: descriptor %d: %w", moves[at].to, os.NewSyscallError("dup3", errno))
	}
}

// ownTable gives this thread a descriptor table of its own. Sandboxes that refuse
// unshare(2) allow close_range(2); older kernels have only unshare(2).
func ownTable() error {
	err := unix.CloseRange(math.MaxUint32, math.MaxUint32, unix.CLOSE_RANGE_UNSHARE)
	if err == nil {
		return nil
	}
	if err2 := unix.Unshare(unix.CLONE_FILES); err2 != nil {
		return fmt.Errorf("execfd: copy the descriptor table for this thread: %w, %w",
			os.NewSyscallError("close_range", err), os.NewSyscallError("unshare", err2))
	}
	return nil
}

// outOfTheWay moves files that are at a number where another file belongs.
func outOfTheWay(moves []move) error {
	moved := map[int]int{}
	for i, m := range moves {
		if !slices.ContainsFunc(moves, func(other move) bool { return other.to == m.from && other.from != m.from }) {
			continue
		}
		fd, ok := moved[m.from]
		if !ok {
			var err error
			if fd, err = aside(m.from, moves); err != nil {
				return fmt.Errorf("execfd: file for descriptor %d: %w", m.to, err)
			}
			moved[m.from] = fd
		}
		moves[i].from = fd
	}
	return nil
}

// keep duplicates the runtime's epoll instance and its eventfd if they are at a number
// of the program's files, and returns the moves that restore them: if execve fails, the
// thread needs them until it ends. Both are anonymous inodes, whose mode has no type.
func keep(moves []move) (back []move, err error) {
	for _, m := range moves {
		var st unix.Stat_t
		if m.from == m.to || unix.Fstat(m.to, &st) != nil || st.Mode&unix.S_IFMT != 0 {
			continue
		}
		fd, err := aside(m.to, moves)
		if err != nil {
			return nil, fmt.Errorf("execfd: keep descriptor %d in case of failure: %w", m.to, err)
		}
		back = append(back, move{from: fd, to: m.to})
	}
	return back, nil
}

// aside duplicates a descriptor to a number that no file of the program has. The moves
// are sorted by the number.
func aside(fd int, moves []move) (int, error) {
	for least := 0; ; least++ {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, least)
		if err != nil {
			return -1, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
		}
		_, wanted := slices.BinarySearchFunc(moves, n, func(m move, n int) int { return m.to - n })
		if !wanted {
			return n, nil
		}
		_ = unix.Close(n)
		least = n
	}
}
