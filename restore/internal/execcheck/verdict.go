package execcheck

import (
	"io"

	"golang.org/x/sys/unix"
)

// HeadSize is the number of bytes by which the kernel decides what a program is
// (BINPRM_BUF_SIZE, since Linux 5.1).
const HeadSize = 256

// MaxDepth is the largest number of scripts in a row, each the interpreter of the one
// before; one more gives ELOOP. The kernel opens the interpreter of the last script
// before it returns that (exec_binprm in fs/exec.c).
const MaxDepth = 5

// Verdict is what is known of a program. The zero value is a program that the kernel can load
// without opening another file.
type Verdict struct {
	// Err is the error of execve, 0 if no reason is found against the program.
	Err unix.Errno
	// Why is the reason in words, to follow the program's path; "" if Err is 0.
	Why string
	// Left reports that only the kernel can decide: Err is 0 and Interpreter is "".
	Left bool

	// Interpreter is the path that the kernel opens next, "" if there is none. A relative
	// path starts at the task's folder; PATH is not used.
	Interpreter string
	// Script reports that Interpreter is from a #! line. It replaces the program, the
	// program becomes its argument, and it may be a script itself. If Script is false,
	// Interpreter is an ELF loader: see [Loader].
	Script bool
	// Arg is the argument of a #! line; HasArg reports whether there is one.
	Arg    string
	HasArg bool
}

// Program returns the verdict on a program. head is the first [HeadSize] bytes of the file, or
// all of a shorter one, and file is the whole file.
func Program(head []byte, file io.ReaderAt, arch Arch) Verdict {
	var buf [HeadSize]byte // zero after the end of the file, like the kernel's buffer
	copy(buf[:], head)
	switch {
	case buf[0] == '#' && buf[1] == '!':
		return script(&buf)
	case string(buf[:len(elfMagic)]) == elfMagic:
		return arch.program(&buf, file)
	case aout(&buf):
		return Verdict{Left: true}
	case len(head) == 0:
		return Verdict{Err: unix.ENOEXEC, Why: "the file is empty"}
	}
	return Verdict{Err: unix.ENOEXEC, Why: "neither a binary for this machine nor a script with a #! line"}
}

// aout reports whether a file may be a binary in the format before ELF, for which kernels up to
// Linux 5.18 have a module. See a.out.h.
func aout(buf *[HeadSize]byte) bool {
	switch uint16(buf[0]) | uint16(buf[1])<<8 {
	case 0o407, 0o410, 0o413, 0o314: // OMAGIC, NMAGIC, ZMAGIC, QMAGIC
		return true
	}
	return false
}
