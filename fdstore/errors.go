package fdstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// Errors of this package, matched with [errors.Is]. Where a system call was
// refused, the error wraps its errno too, in an [os.SyscallError].
var (
	// ErrClosed means that this Store was closed. Matches [os.ErrClosed].
	ErrClosed error = &like{"store is closed", os.ErrClosed}
	// ErrSealed means that nothing more can be added: see [Store.Seal].
	ErrSealed = errors.New("store is sealed")
	// ErrNotFound means that no message has this ID or this name (yet). Matches
	// [fs.ErrNotExist].
	ErrNotFound error = &like{"no such message", fs.ErrNotExist}
	// ErrFull means that the socket's send buffer has no room for another
	// message, or that the store holds as many as [Options.MaxMessages] or
	// its layout allow. The text names the limits. Wraps EAGAIN or ENOBUFS
	// where the kernel says so.
	ErrFull = errors.New("store is full")
	// ErrInFlight means that the user has as many files in flight in Unix
	// sockets as the soft RLIMIT_NOFILE allows. The text names its value.
	// Wraps ETOOMANYREFS.
	ErrInFlight = errors.New("too many files in flight")
	// ErrForeign means that the queue holds a message that is not of this
	// store, or not as it was added. From [New]: strangers were faster than
	// each of several tries.
	ErrForeign = errors.New("message is not of this store")
	// ErrContended means that [wire.MaxTries] tries did not meet the message:
	// other processes moved the peek offset each time, or a holder has taken
	// messages out.
	ErrContended = errors.New("message not met")
	// ErrGroup means that the message holds several files: use
	// [Store.GetGroup].
	ErrGroup = errors.New("message holds several files")
	// ErrReadOnly means that only the writer adds to a store and seals it: the
	// process that made it, or one that [Store.Adopt] has made the writer.
	ErrReadOnly = errors.New("this process is not the store's writer")
	// ErrHasWriter means that a store cannot be adopted, because its writer
	// lives.
	ErrHasWriter = errors.New("store has a writer")
	// ErrNotStore means that a descriptor is not the root of a store.
	ErrNotStore = errors.New("not a store")
	// ErrBadName means that a name is empty, too long, not UTF-8, or has a
	// colon or a control character.
	ErrBadName = errors.New("bad name")
	// ErrNameTaken means that the store has a message with this name. Matches
	// [fs.ErrExist].
	ErrNameTaken error = &like{"name is taken", fs.ErrExist}
	// ErrNoCatalog means that the store was made without names and a list.
	ErrNoCatalog = errors.New("store has no catalog")
	// ErrTooMany means no files at all, or more than [MaxGroup], for one
	// message.
	ErrTooMany = errors.New("a message carries 1 to " + strconv.Itoa(MaxGroup) + " files")
	// ErrCannotSend means that the kernel does not pass this kind of file
	// over a socket, as it does with io_uring instances. Wraps EINVAL.
	ErrCannotSend = errors.New("file cannot be stored")
	// ErrNoDescriptors means that the message's files did not all fit into
	// the process's descriptor table; those that did are closed again, and
	// the same get may be tried later. The kernel gives no errno here, only
	// MSG_CTRUNC, and does the same when a security module refuses a file.
	ErrNoDescriptors = errors.New("no free descriptors for the files")
)

// like is an error that also matches one of package fs, in words of its own.
type like struct {
	text string
	of   error
}

func (e *like) Error() string { return e.text }

func (e *like) Unwrap() error { return e.of }

// FileError says which file of an add the kernel refuses.
type FileError struct {
	Index int // from 0
	Count int // of the files
	FD    int
	Err   error
}

// Error gives "file 2 of 3, descriptor 7: REASON", counted from 1.
func (e *FileError) Error() string {
	return fmt.Sprintf("file %d of %d, descriptor %d: %v", e.Index+1, e.Count, e.FD, e.Err)
}

// Unwrap gives the reason.
func (e *FileError) Unwrap() error { return e.Err }
