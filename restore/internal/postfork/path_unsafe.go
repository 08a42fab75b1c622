package postfork

import (
	"syscall"
	"unsafe"

	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree/recipe"
)

// These functions hold to the rules of package safepath, which has them for the
// runner; a test compares the two.

// judge checks what fstat has returned: whether the type is refused, and whether the file
// would mean another process. If only its path can tell, the next step is stepLink.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func judge(h *program.Head, w *work, op *program.Op) {
	kind, types := w.stat.Mode&syscall.S_IFMT, uint64(0)
	if op.Kind == program.OpRefuse {
		types = op.Args[1]
	}
	if kind == syscall.S_IFIFO && types&uint64(recipe.TypeFIFO) != 0 {
		w.errno = program.ReasonFIFO
	} else if kind == syscall.S_IFSOCK && types&uint64(recipe.TypeSocket) != 0 {
		w.errno = program.ReasonSocket
	} else if kind == syscall.S_IFCHR && w.stat.Rdev == safepath.TerminalDevice {
		w.errno = program.ReasonTerminal
	} else if onProc(h, w.stat.Dev) {
		w.step = stepLink
	}
}

// onProc reports whether st_dev is that of a procfs. Its major number, bits 8 to 19
// and from 44 on, is 0 for a file system that lies on no device.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func onProc(h *program.Head, dev uint64) bool {
	const major = 0xfff<<8 | 0xfffff<<44
	if dev&major != 0 {
		return false
	}
	if h.NProcDevs > program.MaxProcDevs {
		return listed(h, dev)
	}
	for i := uint64(0); i < h.NProcDevs; i++ {
		if *(*uint64)(unsafe.Add(unsafe.Pointer(&h.ProcDevs), i*8)) == dev {
			return true
		}
	}
	return false
}

// mounts gives the first mount of a procfs.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func mounts(h *program.Head) *program.ProcMount {
	return (*program.ProcMount)(unsafe.Add(unsafe.Pointer(h), program.ProcMounts))
}

// following gives the mount after another one.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func following(m *program.ProcMount) *program.ProcMount {
	return (*program.ProcMount)(unsafe.Add(unsafe.Pointer(m), m.Next))
}

// listed reports whether a mount has this st_dev.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func listed(h *program.Head, dev uint64) bool {
	for m := mounts(h); m.Next != 0; m = following(m) {
		if m.Dev == dev {
			return true
		}
	}
	return false
}

// reads reads where the descriptor of a sequence leads.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func reads(h *program.Head, w *work, a *[6]uint64) {
	linkOf(w, w.fd, unsafe.Pointer(&h.FDFolder))
	link, to := unsafe.Pointer(&w.link), unsafe.Pointer(&w.to)
	set(w, a, stepRead, syscall.SYS_READLINKAT, atFDCWD, uint64(uintptr(link)), uint64(uintptr(to)), uint64(readRoom))
}

// linkOf makes the path of a descriptor's link.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func linkOf(w *work, fd uint64, folder unsafe.Pointer) {
	link := unsafe.Pointer(&w.link)
	end := uintptr(0)
	for ; end < uintptr(len(program.FDFolder)); end++ {
		*(*byte)(unsafe.Add(link, end)) = *(*byte)(unsafe.Add(folder, end))
	}
	for rest := fd / 10; rest != 0; rest /= 10 {
		end++
	}
	*(*byte)(unsafe.Add(link, end+1)) = 0
	for more := true; more; more = fd != 0 {
		*(*byte)(unsafe.Add(link, end)) = '0' + byte(fd%10)
		fd /= 10
		end--
	}
}

// ofProcess does what safepath.Procs.Another does, for the path that was read.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func ofProcess(h *program.Head, w *work) {
	link := w.stat.Mode&syscall.S_IFMT == syscall.S_IFLNK
	path, n := unsafe.Pointer(&w.to), uintptr(w.got)
	w.errno = program.ReasonProcess // of a mount that is not known
	for m := mounts(h); m.Next != 0; m = following(m) {
		if m.Dev != w.stat.Dev || !below(path, n, m) {
			continue
		}
		w.errno = 0
		if m.Part == uint16(safepath.Own) || m.Part == uint16(safepath.Whole) && entry(path, uintptr(m.Len), n, link) {
			w.errno = program.ReasonProcess
			break
		}
	}
	w.got = 0
}

// below reports whether a path of n bytes is at or below a mount point.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func below(path unsafe.Pointer, n uintptr, m *program.ProcMount) bool {
	size := uintptr(m.Len)
	if n < size || n > size && *(*byte)(unsafe.Add(path, size)) != '/' {
		return false
	}
	point := unsafe.Add(unsafe.Pointer(m), program.ProcMountSize)
	for i := range size {
		if *(*byte)(unsafe.Add(path, i)) != *(*byte)(unsafe.Add(point, i)) {
			return false
		}
	}
	return true
}

// entry reports whether the rest of a path, from at on, begins with a number, or is
// that of a link at the top of its procfs.
//
//go:nosplit
//go:norace
//go:nocheckptr
//go:noinline
func entry(path unsafe.Pointer, at, n uintptr, link bool) bool {
	if n < at+2 {
		return false
	}
	c := *(*byte)(unsafe.Add(path, at+1))
	if '0' <= c && c <= '9' {
		return true
	}
	for i := at + 1; link && i < n; i++ {
		link = *(*byte)(unsafe.Add(path, i)) != '/'
	}
	return link
}
