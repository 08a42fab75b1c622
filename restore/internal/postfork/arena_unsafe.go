package postfork

import (
	"os"
	"reflect"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// Arena is the memory of a plan, mapped: the shared part at the address that
// the plan chose, and the private page and the page of code below it. Not for use by several
// goroutines except where a method says so.
type Arena struct {
	Base    uint64
	base    unsafe.Pointer
	private unsafe.Pointer
	code    unsafe.Pointer // nil: there is none
	size    uintptr
}

// Map maps an arena at base with room for size bytes, and a page with the code below it
// unless that is empty. If something else is there the error is EEXIST, and nothing was
// mapped. MAP_FIXED_NOREPLACE is known since Linux 4.17.
func Map(base uint64, size int, code []byte) (_ *Arena, err error) {
	page := os.Getpagesize()
	a := &Arena{Base: base, size: uintptr(size+page-1) &^ uintptr(page-1)}
	defer func() {
		if err != nil {
			_ = a.Unmap()
		}
	}()
	if a.private, err = mapAt(base-program.PrivateGap, program.PrivateSize, unix.MAP_PRIVATE); err != nil {
		return nil, err
	}
	// A task finds its page empty: it starts on a fresh stack and needs nothing of its
	// parent's page. Without this the parent would copy its page for each child, at its
	// first step after the fork. Since Linux 4.14.
	if err := unix.Madvise(a.PrivateBytes(), unix.MADV_WIPEONFORK); err != nil {
		return nil, os.NewSyscallError("madvise(MADV_WIPEONFORK)", err)
	}
	if len(code) > 0 {
		if err := a.mapCode(code); err != nil {
			return nil, err
		}
	}
	if a.base, err = mapAt(base, a.size, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	return a, nil
}

// mapCode maps the page of code. No page is ever writable and executable at once, which
// some security modules refuse.
func (a *Arena) mapCode(code []byte) (err error) {
	if a.code, err = mapAt(a.Base-program.CodeGap, program.CodeSize, unix.MAP_PRIVATE); err != nil {
		return err
	}
	page := unsafe.Slice((*byte)(a.code), program.CodeSize)
	copy(page, code)
	return os.NewSyscallError("mprotect", unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC))
}

func mapAt(addr uint64, size uintptr, flags int) (unsafe.Pointer, error) {
	want := unsafe.Add(nil, uintptr(addr)) // the plan's choice, no Go pointer
	p, err := unix.MmapPtr(-1, 0, want, size, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	if p != want {
		_ = unix.MunmapPtr(p, size)
		return nil, os.NewSyscallError("mmap", unix.EEXIST)
	}
	return p, nil
}

// Unmap gives the memory back. Tasks that still use it keep theirs.
func (a *Arena) Unmap() error {
	for _, m := range []struct {
		at   unsafe.Pointer
		size uintptr
	}{{a.private, program.PrivateSize}, {a.code, program.CodeSize}, {a.base, a.size}} {
		if m.at == nil {
			continue
		}
		if err := unix.MunmapPtr(m.at, m.size); err != nil {
			return os.NewSyscallError("munmap", err)
		}
	}
	return nil
}

// Bytes gives the shared part as a slice.
func (a *Arena) Bytes() []byte { return unsafe.Slice((*byte)(a.base), a.size) }

// PrivateBytes gives the private page of this process.
func (a *Arena) PrivateBytes() []byte {
	return unsafe.Slice((*byte)(a.private), program.PrivateSize)
}

// Head gives the head of the arena.
func (a *Arena) Head() *program.Head { return (*program.Head)(a.base) }

// Record gives the record of a process.
func (a *Arena) Record(process int) *program.Record {
	return (*program.Record)(unsafe.Add(a.base, program.HeadSize+process*program.RecordSize))
}

// Size gives the size of the shared part in bytes.
func (a *Arena) Size() uint64 { return uint64(a.size) }

// PutOps copies ops to the address addr.
func (a *Arena) PutOps(addr uint64, ops []program.Op) {
	copy(a.Ops(addr, len(ops)), ops)
}

// Ops gives the n ops at the address addr.
func (a *Arena) Ops(addr uint64, n int) []program.Op {
	return unsafe.Slice((*program.Op)(unsafe.Add(a.base, uintptr(addr-a.Base))), n)
}

// Load reads a word that tasks change. Safe for several goroutines.
func Load(word *uint32) uint32 { return atomic.LoadUint32(word) }

// LoadPID reads a pid that a task writes. Safe for several goroutines.
func LoadPID(pid *int32) int32 { return atomic.LoadInt32(pid) }

// Store writes a word that tasks read. Safe for several goroutines.
func Store(word *uint32, v uint32) { atomic.StoreUint32(word, v) }

// Raise sets bits in a word that tasks change. Safe for several goroutines.
func Raise(word *uint32, bits uint32) { atomic.OrUint32(word, bits) }

// Wait waits until the word is no longer v, it is woken, or the time is over.
// Safe for several goroutines.
func Wait(word *uint32, v uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(max(d, 0)))
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(v), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// Wake wakes everybody who waits on the word. Safe for several goroutines.
func Wake(word *uint32) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, everybody, 0, 0, 0)
}

// Call makes a system call with plain numbers, for the runner's own ops: their
// addresses are the arena's.
func Call(nr uint32, args [6]uint64) (int64, error) {
	r, _, e := unix.Syscall6(uintptr(nr), uintptr(args[0]), uintptr(args[1]), uintptr(args[2]), uintptr(args[3]), uintptr(args[4]), uintptr(args[5]))
	if e != 0 {
		return 0, e
	}
	return int64(r), nil
}

// CodeAddress gives an address in the code that tasks run.
func CodeAddress() uint64 { return uint64(reflect.ValueOf(interp).Pointer()) }

// forkAddress gives the address of fork's code in assembly.
func forkAddress() uint64
