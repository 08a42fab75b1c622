package kind

import (
	"golang.org/x/sys/unix"

	"regrow/tasktree"
)

// Live is what the reader of live trees shows a kind of one entry: all open files
// that belong together, such as both ends of a pipe. A kind asks it and makes no
// system call of its own; package images/live implements it.
type Live interface {
	// Ends lists the open files of the entry that the tree has, at least one.
	Ends() []LiveEnd

	// Wants reports whether anybody asks for a key. Reading what nobody wants would
	// cost calls.
	Wants(key string) bool
}

// LiveEnd is one open file of a live tree. Everything but Copy costs nothing, and
// asks no file's server.
type LiveEnd interface {
	// Link is what the descriptor leads to, in the words of proc_pid_fd(5): a path,
	// or a kind and a number like "pipe:[4711]".
	Link() string

	// Mode is the file's type and permissions, st_mode of inode(7).
	Mode() uint32

	// Stat is the file's metadata, as the kernel has it. It is not to be changed.
	Stat() *unix.Statx_t

	// Memory reports whether it is a memory file of memfd_create(2), and gives the
	// size of its huge pages, 0 where it has usual ones.
	Memory() (hugePage int64, ok bool)

	// Flags are those of open(2) that the open file has now, without O_CLOEXEC,
	// which belongs to descriptors.
	Flags() int

	// Offset is in bytes from the start.
	Offset() int64

	// Unix is what sock_diag(7) shows of a Unix socket, nil of anything else.
	Unix() *LiveUnix

	// Info is a field of proc_pid_fdinfo(5) by its name, "" where there is none: the
	// kernel shows what is special to a kind there.
	Info(field string) string

	// Copy lends a copy of the descriptor, which is closed when use returns, soon:
	// meanwhile a pipe's reader gets no end of file. The error is that of use, or
	// says why there is no copy. Regular files and folders but those in memory have
	// none, since to close it asks a server that may never answer.
	Copy(use func(c LiveCopy) error) error
}

// LiveCopy makes calls on the copy of a descriptor that change nothing.
type LiveCopy interface {
	// Fcntl is fcntl(2) without an argument: F_GETPIPE_SZ.
	Fcntl(command int) (int, error)

	// Waiting is how many bytes can be read: FIONREAD of ioctl(2).
	Waiting() (int, error)

	// Tee copies what waits in a pipe, and leaves it there: see tee(2). The copy is
	// that of a read end. Each piece is what one read takes: a packet, or all bytes.
	// whole reports whether that was all.
	Tee() (pieces [][]byte, whole bool, err error)

	// Front is how many bytes wait in the first page of a pipe, of which the copy is
	// a read end.
	Front() (int, error)

	// Poll gives the events of poll(2) that there are now.
	Poll() (events int, err error)

	// Extents reads what a memory file holds, without its holes, by an open file of
	// its own. More than most bytes are an error.
	Extents(most int64) ([]LiveExtent, error)

	// Queue gives what waits in a socket, and leaves it there. An empty message is seen
	// by the first look only: the kernel marks it. The error may be a [*NeverError].
	Queue() ([]LiveItem, error)

	// Option is getsockopt(2), of a value of that size.
	Option(level, nr, size int) ([]byte, error)

	// Filter is the classic BPF program of a socket, in the bytes of struct sock_filter.
	Filter() ([]byte, error)

	// PeerName is getpeername(2) of a Unix socket, as [LiveUnix].Name.
	PeerName() (string, error)

	// BoundFile gives the mode of the file that a socket's name is, and how many names
	// that file has: none if it was removed.
	BoundFile() (mode uint32, names int, err error)
}

// LiveExtent is a part of a file that is no hole.
type LiveExtent struct {
	Offset int64
	Data   []byte
}

// LiveUnix is what the kernel shows of a Unix socket without asking the socket.
type LiveUnix struct {
	Inode     uint64
	Type      int    // SOCK_STREAM and so on
	Listens   bool   // it is a listener
	Connected bool   // it has, or had, another side
	Name      string // as in a struct sockaddr_un, "" for none; one of bytes begins with NUL
	Peer      uint64 // the inode of the other side, 0: there is none any more
	PeerName  string // of the other side
	Accepted  bool   // it is the side that a listener has accepted
	Either    bool   // nothing tells whether it is that side or the other one
	Pending   bool   // the other side waits to be accepted
	Listener  string // the open file that listens at the name of this connection, in the words of the reader
	Backlog   int    // of a listener
	Shutdown  int    // 1: it receives no more; 2: it sends no more
}

// NeverError says that nobody can see something, with whatever rights.
type NeverError struct{ Why string }

// Error gives the reason.
func (e *NeverError) Error() string { return e.Why }

// LiveItem is what a receive gets from a socket.
type LiveItem struct {
	Data  []byte
	Files []string // names of open files that came along, in the words of the reader; "" for one that no task has
	OOB   bool     // it is an out-of-band byte
	From  string   // who has sent it, as [LiveUnix].Name; "" for one without a name
}

// mostContent is how many bytes of a file are read at most.
const mostContent = 64 << 20

// Unseen is a key that could not be read, and why.
type Unseen struct {
	Key string // "content"; "" for the whole entry
	Why string // "kcmp: operation not permitted"

	// Always: nobody can see it, with whatever rights.
	Always bool
}

// Joined is a [Readable] whose open files tell by more than their link what belongs
// together, and which data has the ends that it is found to have.
type Joined interface {
	Readable

	// Join takes over from one open file what the ends are, and gives a word that all
	// open files of the entry have, "" if it has no ends.
	Join(e LiveEnd) string
}

// Turning is a [Readable] whose ends may be told apart by nobody but who has them.
type Turning interface {
	Readable

	// Turn swaps them, and reports whether it could.
	Turn() bool
}

// Settling is a [Readable] that cannot see everything at each look.
type Settling interface {
	Readable

	// Settle takes over from what is expected what was not to be seen.
	Settle(made tasktree.Spec)
}

// Readable is a [tasktree.Spec] that live trees can be read into.
type Readable interface {
	// Read fills in all keys from the ends of a live entry, and changes nothing
	// there. It never fails: what it cannot see it says.
	Read(l Live) []Unseen

	// Made gives what Read finds of an entry that was made as this one says: the
	// defaults filled in, without flags and keys that only say how it comes to be.
	// What is not said and may be anything stays unsaid.
	Made(t *tasktree.Tree) tasktree.Spec

	// End tells which of Spec.Ends an open file is, 0 for a kind without ends.
	End(e LiveEnd) int

	// Hint proposes a name for an entry that was read, any text.
	Hint() string
}

// EndWise is a [Readable] with as many ends as its description says: each open file of a
// live tree is an entry of its own then, and what is said of it.
type EndWise interface {
	Readable

	// MadeEnd is Made for one end: what Read finds of its open file. whole: with what
	// all ends have in common.
	MadeEnd(t *tasktree.Tree, end int, whole bool) tasktree.Spec

	// OfEnd gives what of an entry that was read belongs to its open file alone.
	OfEnd() tasktree.Spec

	// Access tells whether an end is open for reading and for writing.
	Access(end int) (reads, writes bool)
}
