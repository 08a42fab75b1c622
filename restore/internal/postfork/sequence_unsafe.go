package postfork

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// Some ops are sequences of system calls. A function for each of them, and functions
// for what they have in common, would call deeper than the stack allows. So a sequence
// goes by steps: the functions look at what the last call gave and say which one
// follows, and only sequence itself calls.
//
//	OpRefuse                 stat ─▶ (on a procfs) read ─▶ done
//	OpWay           open ─▶ stat ─▶ (on a procfs) read ─▶ close ─▶ done
//	OpFind     ┌──▶ open ─▶ stat ─▶ (on a procfs) read ─▶ close ─▶ access ─▶ done
//	           └── the next candidate ◀── this one is no program ─────┘
//	OpReopenAt ┌──▶ open ─▶ first ─▶ second ─▶ flags ─▶ done
//	           │     └─ EAGAIN ─▶ wait ─▶ waited
//	           └───────────────────────────┘

// work is what a sequence knows, in the private page.
type work struct {
	nr      uint64         // the call that follows, 0: none
	step    uint64         // which step that is, or the last one was
	fd      uint64         // what the sequence has opened
	try     uint64         // candidate of OpFind, open of OpReopenAt
	dev     uint64         // of what OpReopenAt was given
	ino     uint64         // the same
	got     int64          // what the last call gave, and in the end the sequence
	errno   syscall.Errno  // the same
	verdict syscall.Errno  // what is wrong with what was opened
	missing syscall.Errno  // why the candidates of OpFind so far are no programs
	stat    syscall.Stat_t // of what was opened
	link    [linkRoom]byte // the path of a descriptor's link
	to      [readRoom]byte // where that leads
}

const (
	workWords = 10
	linkRoom  = 32 // for program.FDFolder, a number and a NUL
	readRoom  = program.PrivWorkSize - 8*workWords - int(unsafe.Sizeof(syscall.Stat_t{})) - linkRoom
)

const (
	stepStat = iota
	stepLink // no call: the next one is stepRead
	stepRead
	stepOpen
	stepClose
	stepAccess
	stepWait
	stepWaited
	stepFirst
	stepSecond
	stepFlags
)

const (
	atFDCWD = ^uint64(99)
	howSize = 24 // struct open_how

	reopens  = 8 // tries, where others take leases of the file
	settable = unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME
	atOnce   = unix.O_NOFOLLOW | unix.O_NONBLOCK
)

// openHow is struct open_how. With resolve 0 openat2 is refused here, and the path has
// no link.
type openHow struct{ flags, mode, resolve uint64 }

// sequence does an op that is a sequence of calls. Its result is in work.got.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func sequence(h *program.Head, priv unsafe.Pointer, op *program.Op, a *[6]uint64) syscall.Errno {
	w := (*work)(unsafe.Add(priv, program.PrivWork))
	begins(h, w, op, a)
	for w.nr != 0 {
		w.got, w.errno = makeCall(w.nr, a)
		if w.errno == syscall.EINTR && interrupted(h, w) {
			continue
		}
		w.nr = 0
		if w.errno == 0 && w.step == stepStat {
			judge(h, w, op)
		}
		if w.step == stepLink {
			reads(h, w, a)
			continue
		}
		if w.errno == 0 && w.step == stepRead {
			ofProcess(h, w)
		}
		if op.Kind == program.OpReopenAt {
			reopen(h, w, op, a)
		}
		if op.Kind == program.OpWay || op.Kind == program.OpFind {
			way(w, a)
		}
		if op.Kind == program.OpFind && w.nr == 0 {
			find(h, w, op, a)
		}
	}
	return w.errno
}

// interrupted reports whether the call that a signal has interrupted is to be made
// again: not a close, whose number is free by then, and not when the restore is over.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func interrupted(h *program.Head, w *work) bool {
	if w.nr == syscall.SYS_CLOSE {
		w.errno = 0
		return false
	}
	if over(h) {
		w.errno = program.ReasonCanceled
		return false
	}
	return true
}

// makeCall makes the system call nr.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func makeCall(nr uint64, a *[6]uint64) (int64, syscall.Errno) {
	r, _, e := syscall.RawSyscall6(uintptr(nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), 0, 0)
	return int64(r), e
}

// begins says what the first call of a sequence is, none if there is nothing to do.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func begins(h *program.Head, w *work, op *program.Op, a *[6]uint64) {
	w.nr, w.try, w.got, w.errno = 0, 0, 0, 0
	if op.Kind == program.OpRefuse {
		w.fd = op.Args[0]
		stats(w, a, stepStat, w.fd)
		return
	}
	how := op.Args[1]
	path := op.Args[0]
	if op.Kind == program.OpFind {
		if *(*uint64)(at(h, op.Args[2])) != 0 {
			return // another task has found it
		}
		w.missing = syscall.ENOENT
		how = op.Args[4]
		path = *(*uint64)(at(h, path))
	}
	opens(h, w, a, path, how)
}

// set says which call follows, and with which arguments.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func set(w *work, a *[6]uint64, step, nr, a0, a1, a2, a3 uint64) {
	w.step, w.nr = step, nr
	a[0], a[1], a[2], a[3] = a0, a1, a2, a3
}

// opens opens a path as the open_how at an address says.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func opens(h *program.Head, w *work, a *[6]uint64, path, how uint64) {
	o := (*openHow)(at(h, how))
	if o.resolve == 0 {
		set(w, a, stepOpen, syscall.SYS_OPENAT, atFDCWD, path, o.flags, 0)
		return
	}
	set(w, a, stepOpen, unix.SYS_OPENAT2, atFDCWD, path, how, howSize)
}

// stats asks what a descriptor has open.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func stats(w *work, a *[6]uint64, step, fd uint64) {
	set(w, a, step, syscall.SYS_FSTAT, fd, uint64(uintptr(unsafe.Pointer(&w.stat))), 0, 0)
}

// way goes on with the look at a path. When it is done no call follows.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func way(w *work, a *[6]uint64) {
	if w.step == stepOpen && w.errno == 0 {
		w.fd = uint64(w.got)
		stats(w, a, stepStat, w.fd)
		return
	}
	if w.step == stepStat || w.step == stepRead {
		w.verdict = w.errno
		set(w, a, stepClose, syscall.SYS_CLOSE, w.fd, 0, 0, 0)
		return
	}
	if w.step == stepClose {
		w.errno = w.verdict
	}
}

// find goes on with the search for a program: the first candidate that is one goes to
// the cell.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func find(h *program.Head, w *work, op *program.Op, a *[6]uint64) {
	path := *(*uint64)(at(h, op.Args[0]+8*w.try))
	if w.errno == 0 && w.step == stepClose {
		w.errno = regular(w)
		if w.errno == 0 {
			// It asks for the real user, and a task has no other
			// (faccessat2 is newer than some sandboxes).
			set(w, a, stepAccess, syscall.SYS_FACCESSAT, atFDCWD, path, unix.X_OK, 0)
			return
		}
	}
	if w.errno == 0 {
		*(*uint64)(at(h, op.Args[2])) = path
		return
	}
	if w.errno != syscall.ENOENT && w.errno != syscall.ENOTDIR {
		w.missing = w.errno // more to the point than "not found"
	}
	w.try++
	if w.try < op.Args[1] {
		opens(h, w, a, *(*uint64)(at(h, op.Args[0]+8*w.try)), op.Args[4])
		return
	}
	w.errno = w.missing
}

// regular demands a regular file, and tells a folder from other files.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func regular(w *work) syscall.Errno {
	kind := w.stat.Mode & syscall.S_IFMT
	if kind == syscall.S_IFDIR {
		return syscall.EISDIR
	}
	if kind != syscall.S_IFREG {
		return program.ReasonSpecial
	}
	return 0
}

// reopen goes on with the second open of a path, see program.OpReopenAt.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func reopen(h *program.Head, w *work, op *program.Op, a *[6]uint64) {
	flags := (*openHow)(at(h, op.Args[1])).flags
	if w.errno == syscall.EAGAIN && w.step == stepOpen && w.try < reopens {
		// Somebody has a lease (F_SETLEASE in fcntl(2)). Without
		// O_NONBLOCK the kernel waits until that is over.
		w.try++
		set(w, a, stepWait, syscall.SYS_OPENAT, atFDCWD, op.Args[3], flags&^atOnce, 0)
		return
	}
	if w.errno != 0 {
		return
	}
	if w.step == stepWait {
		set(w, a, stepWaited, syscall.SYS_CLOSE, uint64(w.got), 0, 0, 0)
	} else if w.step == stepWaited {
		opens(h, w, a, op.Args[0], op.Args[1])
	} else if w.step == stepOpen {
		w.fd = uint64(w.got)
		stats(w, a, stepFirst, op.Args[2])
	} else if w.step == stepFirst {
		w.dev, w.ino = w.stat.Dev, w.stat.Ino
		stats(w, a, stepSecond, w.fd)
	} else if w.step == stepSecond && (w.dev != w.stat.Dev || w.ino != w.stat.Ino) {
		w.errno = program.ReasonChanged
	} else if w.step == stepSecond && op.Flags&program.FlagNonblock == 0 {
		set(w, a, stepFlags, syscall.SYS_FCNTL, w.fd, unix.F_SETFL, flags&settable, 0)
	} else {
		w.got = int64(w.fd)
	}
}
