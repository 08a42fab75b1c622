package fdstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// Errors of this package, matched with [errors.Is]. If a system call failed, the error
// also wraps its errno, in an [os.SyscallError].
var (
	// ErrClosed means that this Store was closed. Matches [os.ErrClosed].
	ErrClosed error = &aliasError{"store is closed", os.ErrClosed}
	// ErrSealed means that nothing more can be added: see [Store.Seal].
	ErrSealed = errors.New("store is sealed")
	// ErrNotFound means that no message has this ID or this name (yet). Matches
	// [fs.ErrNotExist].
	ErrNotFound error = &aliasError{"no such message", fs.ErrNotExist}
	// ErrFull means that the socket's send buffer has no space for another
	// message, or that the store has as many messages as [Options.MaxMessages]
	// or its layout allow. The text names the limits. Wraps EAGAIN or ENOBUFS
	// if the kernel has refused the message.
	ErrFull = errors.New("store is full")
	// ErrInFlight means that the user has as many files in flight in Unix
	// sockets as the soft RLIMIT_NOFILE allows. The text names its value.
	// Wraps ETOOMANYREFS.
	ErrInFlight = errors.New("too many files in flight")
	// ErrForeign means that the queue contains a message that is not of this
	// store, or not as it was added. From [New]: in each of several tries
	// another process has sent to the new socket.
	ErrForeign = errors.New("message is not of this store")
	// ErrContended means that [wire.MaxTries] tries did not reach the message:
	// other processes moved the peek offset each time, or a holder has removed
	// messages.
	ErrContended = errors.New("message not reached")
	// ErrGroup means that the message has several files: use
	// [Store.GetGroup].
	ErrGroup = errors.New("message has several files")
	// ErrReadOnly means that this process is not the store's writer. Only the
	// writer adds and seals: the process that made the store, or one that
	// became the writer by [Store.Adopt].
	ErrReadOnly = errors.New("this process is not the store's writer")
	// ErrHasWriter means that a store cannot be adopted, because its writer
	// still runs.
	ErrHasWriter = errors.New("store has a writer")
	// ErrNotStore means that a descriptor is not the root of a store.
	ErrNotStore = errors.New("not a store")
	// ErrBadName means that a name is empty, too long, not UTF-8, or has a
	// colon or a control character.
	ErrBadName = errors.New("bad name")
	// ErrNameTaken means that the store has a message with this name. Matches
	// [fs.ErrExist].
	ErrNameTaken error = &aliasError{"name is taken", fs.ErrExist}
	// ErrNoCatalog means that the store was made without names and a list.
	ErrNoCatalog = errors.New("store has no catalog")
	// ErrTooMany means that a message was to carry no file at all, or more than
	// [MaxGroup].
	ErrTooMany = errors.New("a message carries 1 to " + strconv.Itoa(MaxGroup) + " files")
	// ErrCannotSend means that the kernel refuses to send this kind of file
	// over a socket, for example an io_uring instance. Wraps EINVAL.
	ErrCannotSend = errors.New("file cannot be stored")
	// ErrNoDescriptors means that the process's descriptor table did not have
	// space for all files of the message. Those that were received are closed
	// again, and the same get may succeed later. The kernel returns no errno
	// here, only MSG_CTRUNC; it does the same if a security module refuses a
	// file.
	ErrNoDescriptors = errors.New("no free descriptors for the files")
)

// aliasError is an error with its own text that also matches an error of package fs.
type aliasError struct {
	text string
	of   error
}

func (e *aliasError) Error() string { return e.text }

func (e *aliasError) Unwrap() error { return e.of }

// FileError tells which file of an add the kernel refuses.
type FileError struct {
	Index int // from 0
	Count int // of the files
	FD    int
	Err   error
}

// Error returns "file 2 of 3, descriptor 7: REASON", counted from 1.
func (e *FileError) Error() string {
	return fmt.Sprintf("file %d of %d, descriptor %d: %v", e.Index+1, e.Count, e.FD, e.Err)
}

// Unwrap returns the reason.
func (e *FileError) Unwrap() error { return e.Err }
