package tasktree

// Maker takes the system calls that make one open file. The planner implements
// it twice: for a file that one task makes for itself, where every descriptor
// number is known beforehand, and for a file that the runner makes once and
// puts in the store.
//
// A recipe is data: calling a Maker runs nothing. A descriptor that a step
// makes and that is not among the Refs which Spec.Make returns is closed by the
// Maker in the end.
type Maker interface {
	// At names the place of the description that asks for the steps that
	// follow. Without it that is the entry's own position.
	At(pos Pos)

	// Call makes one system call. See [Call].
	Call(c Call)

	// CallFD makes one system call that returns a new descriptor, which must
	// be close-on-exec until the descriptor is installed.
	CallFD(c Call) Ref

	// CallPair makes one system call that writes two new descriptors to the
	// memory that its argument Pair() points at: pipe2, socketpair.
	CallPair(c Call) (Ref, Ref)

	// Look opens path with O_PATH|O_CLOEXEC and the given further flags
	// (O_NOFOLLOW, O_DIRECTORY) and refuses a file whose type is in refuse. It
	// does not open the file itself, so a FIFO does not block and its writer
	// is not let through.
	Look(path string, flags int, refuse FileTypes) Ref

	// Reopen opens what Look found, with the flags of open(2), and closes
	// look. It goes through /proc/self/fd, so /proc must be mounted.
	Reopen(look Ref, flags int) Ref

	// Create opens path for the runner, making it if it is not there. See
	// [CreateFile].
	Create(c CreateFile) Ref

	// Caller takes over the caller's descriptor that goes by key: "stdin",
	// "stdout", "stderr" or a key of --inherit-fd.
	Caller(key string) Ref

	// TruncateAtCommit cuts the file to length 0 when every task is ready and
	// the tree is about to be released. It matters for regular files only.
	TruncateAtCommit(f Ref)
}

// Ref names a descriptor inside a recipe. It is only good for the Maker that
// gave it.
type Ref int

// Call is one system call of a recipe.
type Call struct {
	Name  string  // "fcntl(F_SETPIPE_SZ)", "lseek": what messages call it
	Nr    uintptr // SYS_ number
	Args  []Arg   // at most 6
	Want  int64   // the result that is demanded if HasWant
	Short string  // message if the result is not Want: "short write"
	Hints []Hint

	HasWant bool

	// NewPipe makes Want the capacity of a new pipe. The call is only made where
	// the kernel may have given less, without a word.
	NewPipe bool
}

// Hint is what a message adds for one errno: which limit was met, what to do.
type Hint struct {
	Errno int
	Text  string
}

// CreateFile asks for a file that is made if it is not there yet. Only the
// runner does this, because it must remove again what it made if the restore
// fails.
//
// The file is first tried with O_EXCL, so that "made by us" is certain. One
// that was there is then opened like any other (Look, Reopen), unless
// MustCreate.
type CreateFile struct {
	Path       string
	Flags      int // of open(2), without O_CREAT, O_EXCL and O_TRUNC
	Mode       uint32
	MustCreate bool   // the file must not be there yet: O_EXCL was asked for, or there is Content
	Content    []byte // written from offset 0, the offset is then 0 again
	Refuse     FileTypes
}

// FileTypes is a set of file types, see inode(7).
type FileTypes uint16

// The file types that a recipe can refuse.
const (
	TypeFIFO FileTypes = 1 << iota
	TypeSocket
)

// Arg is an argument of a [Call].
type Arg struct {
	Kind ArgKind
	Int  int64
	Data []byte
	Ref  Ref
}

// ArgKind says which field of an [Arg] counts.
type ArgKind uint8

// The kinds of arguments.
const (
	ArgInt  ArgKind = iota // Int itself
	ArgData                // the address of a copy of Data
	ArgRef                 // the number of the descriptor Ref
	ArgPair                // the address where CallPair's call puts two descriptors
)

// Int is a plain number.
func Int(n int64) Arg { return Arg{Kind: ArgInt, Int: n} }

// Data is the address of a copy of b. The kernel may write to it; nobody reads
// what it wrote.
func Data(b []byte) Arg { return Arg{Kind: ArgData, Data: b} }

// FD is the number of a descriptor that an earlier step made.
func FD(r Ref) Arg { return Arg{Kind: ArgRef, Ref: r} }

// Pair is where a call of CallPair writes its two descriptors.
func Pair() Arg { return Arg{Kind: ArgPair} }
