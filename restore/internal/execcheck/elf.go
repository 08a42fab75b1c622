package execcheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

const elfMagic = "\x7fELF"

// Arch is a machine that executes ELF binaries.
type Arch struct {
	Machine uint16   // e_machine of its 64-bit binaries
	Compat  []uint16 // e_machine of 32-bit binaries that a kernel may be built to run
	Page    int      // size of a page in bytes
}

// AMD64 and ARM64 are the machines on which regrow runs. The caller sets Page.
var (
	AMD64 = Arch{Machine: 62, Compat: []uint16{3, 6, 62}} // i386, i486, x32
	ARM64 = Arch{Machine: 183, Compat: []uint16{40}}      // arm
)

// Offsets and sizes of struct elf64_hdr, elf64_phdr and elf32_hdr, see elf(5).
const (
	headerSize    = 64
	offType       = 16
	offMachine    = 18
	offPhoff      = 32
	offPhentsize  = 54
	offPhnum      = 56
	phdrSize      = 56
	phdrOffset    = 8
	phdrFilesz    = 32
	maxPhdrs      = 65536 // bytes, all together
	maxInterp     = 4096  // PATH_MAX
	typeExec      = 2
	typeDyn       = 3
	segmentInterp = 3

	offPhentsize32 = 42
	offPhnum32     = 44
	phdrSize32     = 32
)

// order is the byte order of both machines.
var order = binary.LittleEndian

// program checks an ELF binary like load_elf_binary of fs/binfmt_elf.c, up to the point at
// which that begins to replace the process. A later error kills the task.
func (a Arch) program(buf *[HeadSize]byte, file io.ReaderAt) Verdict {
	v := a.native(buf, file)
	if v.Err == unix.ENOEXEC && a.mayBeCompat(buf) {
		return Verdict{Left: true}
	}
	return v
}

func (a Arch) native(buf *[HeadSize]byte, file io.ReaderAt) Verdict {
	refuse := func(errno unix.Errno, format string, args ...any) Verdict {
		return Verdict{Err: errno, Why: fmt.Sprintf(format, args...)}
	}
	if t := order.Uint16(buf[offType:]); t != typeExec && t != typeDyn {
		return refuse(unix.ENOEXEC, "an ELF file of type %d, which is not a program", t)
	}
	if m := order.Uint16(buf[offMachine:]); m != a.Machine {
		return refuse(unix.ENOEXEC, "an ELF binary for another machine (its e_machine is %d, this machine's is %d)", m, a.Machine)
	}
	phdrs, ok := a.phdrs(buf[:headerSize], file)
	if !ok {
		return refuse(unix.ENOEXEC, "its ELF program headers are broken or cut off")
	}
	for ; len(phdrs) > 0; phdrs = phdrs[phdrSize:] {
		if order.Uint32(phdrs) != segmentInterp {
			continue
		}
		return interpreter(phdrs[:phdrSize], file)
	}
	return Verdict{}
}

// interpreter reads the path in a PT_INTERP segment.
func interpreter(phdr []byte, file io.ReaderAt) Verdict {
	const broken = "the name of its ELF interpreter is broken"
	offset, size := order.Uint64(phdr[phdrOffset:]), order.Uint64(phdr[phdrFilesz:])
	if size < 2 || size > maxInterp {
		return Verdict{Err: unix.ENOEXEC, Why: broken}
	}
	name := make([]byte, size)
	if errno := readAll(file, name, offset); errno != 0 {
		return Verdict{Err: errno, Why: "the name of its ELF interpreter is cut off"}
	}
	if name[size-1] != 0 {
		return Verdict{Err: unix.ENOEXEC, Why: broken}
	}
	if name[0] == 0 { // the empty path is the current folder
		return Verdict{Err: unix.EACCES, Why: "the name of its ELF interpreter is empty"}
	}
	return Verdict{Interpreter: text(name)}
}

// Loader checks the ELF interpreter of a binary. It must be a binary for the same machine; its
// own interpreter is not used.
func Loader(file io.ReaderAt, arch Arch) Verdict {
	var header [headerSize]byte
	if errno := readAll(file, header[:], 0); errno != 0 {
		return Verdict{Err: errno, Why: "too short for an ELF interpreter"}
	}
	if string(header[:len(elfMagic)]) != elfMagic {
		return Verdict{Err: unix.ELIBBAD, Why: "not an ELF file"}
	}
	if m := order.Uint16(header[offMachine:]); m != arch.Machine {
		return Verdict{Err: unix.ELIBBAD, Why: fmt.Sprintf("an ELF file for another machine (its e_machine is %d, this machine's is %d)", m, arch.Machine)}
	}
	if _, ok := arch.phdrs(header[:], file); !ok {
		return Verdict{Err: unix.ELIBBAD, Why: "its ELF program headers are broken or cut off"}
	}
	return Verdict{}
}

// phdrs reads the program headers of a native binary, which take at most one page.
func (a Arch) phdrs(header []byte, file io.ReaderAt) ([]byte, bool) {
	size := int(order.Uint16(header[offPhnum:])) * phdrSize
	if order.Uint16(header[offPhentsize:]) != phdrSize || size == 0 || size > min(maxPhdrs, a.Page) {
		return nil, false
	}
	phdrs := make([]byte, size)
	return phdrs, readAll(file, phdrs, order.Uint64(header[offPhoff:])) == 0
}

// mayBeCompat reports whether a kernel that also runs 32-bit binaries would check a file
// further that is not a 64-bit binary. It is not known whether the kernel does.
func (a Arch) mayBeCompat(buf *[HeadSize]byte) bool {
	t, size := order.Uint16(buf[offType:]), int(order.Uint16(buf[offPhnum32:]))*phdrSize32
	return (t == typeExec || t == typeDyn) && slices.Contains(a.Compat, order.Uint16(buf[offMachine:])) &&
		order.Uint16(buf[offPhentsize32:]) == phdrSize32 && size > 0 && size <= min(maxPhdrs, a.Page)
}

// readAll reads all of b like elf_read of fs/binfmt_elf.c: a short read is EIO.
func readAll(file io.ReaderAt, b []byte, offset uint64) unix.Errno {
	if offset > math.MaxInt64-uint64(len(b)) {
		return unix.EINVAL
	}
	n, err := file.ReadAt(b, int64(offset))
	switch errno, is := errors.AsType[unix.Errno](err); {
	case n == len(b):
		return 0
	case is:
		return errno
	}
	return unix.EIO
}
