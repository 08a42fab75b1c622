package execcheck

import (
	"io"

	"golang.org/x/sys/unix"
)

// HeadSize is how many bytes of a program the kernel looks at to find out what it
// is (BINPRM_BUF_SIZE, since Linux 5.1).
const HeadSize = 256

// MaxDepth is how many scripts in a row are taken, each the interpreter of the one
// before; one more is ELOOP. The kernel opens the interpreter of the last one
// before it says so (exec_binprm in fs/exec.c).
const MaxDepth = 5

// Verdict is what is known of a program. The zero value is one that the kernel can
// load without opening another file.
type Verdict struct {
	// Err is what execve answers, 0 if nothing speaks against the program.
	Err unix.Errno
	// Why says it in words that can stand behind the program's path; "" if Err
	// is 0.
	Why string
	// Left says that only the kernel can tell: Err is 0 and Interpreter is "".
	Left bool

	// Interpreter is the path that the kernel opens next, "" if there is none.
	// A relative one starts at the task's folder; PATH is not asked.
	Interpreter string
	// Script says that Interpreter stands in a #! line. It takes the program's
	// place, the program becomes its argument, and may itself be a script. Where
	// it is false, Interpreter is an ELF loader: see [Loader].
	Script bool
	// Arg is the one argument that a #! line may have, HasArg whether it does.
	Arg    string
	HasArg bool
}

// Program says what the kernel makes of a file that it is to execute. head is the
// beginning of the file, at most [HeadSize] bytes of it, and file the whole.
func Program(head []byte, file io.ReaderAt, arch Arch) Verdict {
	var buf [HeadSize]byte // zero behind the end of the file, as the kernel's
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

// aout reports whether a file may be a binary in the format before ELF, which a
// module could load up to Linux 5.18. See a.out.h.
func aout(buf *[HeadSize]byte) bool {
	switch uint16(buf[0]) | uint16(buf[1])<<8 {
	case 0o407, 0o410, 0o413, 0o314: // OMAGIC, NMAGIC, ZMAGIC, QMAGIC
		return true
	}
	return false
}
