package prepare

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/safepath"
)

// errNoPage says that the kernel had no page left when it was to be written: it then
// sends SIGBUS.
var errNoPage = fmt.Errorf("no page is left for it: %w", unix.ENOMEM)

// mapped writes to a file by way of a mapping, in pages of so many bytes. The file is
// large enough.
func mapped(fd int, page, offset int64, data []byte) (err error) {
	start := offset &^ (page - 1)
	length := (offset + int64(len(data)) - start + page - 1) &^ (page - 1)
	var memory []byte
	err = safepath.IgnoringEINTR(func() (err error) {
		memory, err = unix.Mmap(fd, start, int(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return err
	})
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { err = errors.Join(err, os.NewSyscallError("munmap", unix.Munmap(memory))) }()
	// Huge pages are reserved by mmap(2), but a control group may refuse them later.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		if _, ok := fault.(runtime.Error); !ok {
			panic(fault)
		}
		err = errNoPage
	}()
	copy(memory[offset-start:], data)
	return nil
}
