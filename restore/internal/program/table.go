package program

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// This is the one table of what ops, calls and verbs are called: a new op is its case in
// package postfork and a row here.

// OpRow is what messages, pictures and traces say of an op.
type OpRow struct {
	// Name is the system call that the op makes, or the first of them. OpCall,
	// OpPair and OpPoll have none: their Nr has.
	Name string
	// Form is how the op is written with its arguments, see package words. Default: Name.
	Form string
}

var opRows = map[OpKind]OpRow{
	OpCall:     {},
	OpPair:     {},
	OpRefuse:   {Name: "fstat", Form: "{call}({0:n})"},
	OpFind:     {Name: "faccessat", Form: "find program {path}"},
	OpWay:      {Name: "chdir", Form: "check folder {path}"},
	OpReopenAt: {Name: "openat2", Form: "openat2({0:s}, {1:h})"},
	OpPull:     {Name: "recvmsg", Form: "pull({0:n}, {message}) -> {numbers}"},
	OpFork:     {Name: "clone3", Form: "{call} -> task {1:task}"},
	OpShed:     {Name: "munmap"},
	OpName:     {Name: "prctl(PR_SET_MM_MAP)"},
	OpBegin:    {Name: "set_robust_list"},
	OpGate:     {Name: "wait", Form: "wait({0:w})"},
	OpHold:     {Name: "hold"},
	OpTake:     {Name: "recvmsg(answer)", Form: "pop({0:n}, {id}) -> {numbers}"},
	OpMeet:     {Name: "meet"},
	OpHelp:     {Name: "clone3", Form: "{call} -> a helper, which forks {2:forks}"},
	OpEnd:      {Name: "exit_group(helper)", Form: "exit_group({0:n})"},
	OpReap:     {Name: "wait4(helper)"},
	OpAwait:    {Name: "await", Form: "wait({0:w})"},
	OpStore:    {Name: "store", Form: "put {0:n} into {1:w}"},
	OpChild:    {Name: "clone3", Form: "{call} -> a process that ends"},

	OpReopen:   {Name: "openat", Form: `openat("/proc/self/fd/#{0:u}", {1:f})`},
	OpCreate:   {Name: "openat", Form: "openat({0:s}, {1:f}|O_CREAT, {2:o})"},
	OpCaller:   {Name: "fcntl(F_GETFD)", Form: "fcntl({0:n}, F_GETFD)"},
	OpAdd:      {Name: "sendmsg", Form: "sendmsg(message {2:u}, {1:files})"},
	OpLend:     {Name: "fcntl(F_DUPFD_CLOEXEC)"},
	OpTruncate: {Name: "ftruncate", Form: "{call}({0:n})"},
	OpPoll:     {},
	OpBench:    {Name: "clone3", Form: "{call} -> bench {0:u}"},
	OpReceive:  {Name: "recvmsg", Form: "{call}({0:n}) -> {slots}"},
	OpMapped:   {Name: "mmap", Form: "write {4:u} bytes at {2:u} of {0:n} by mmap"},
}

// Kinds gives all kinds of ops, ascending.
func Kinds() []OpKind { return slices.Sorted(maps.Keys(opRows)) }

// Row gives what is said of an op of this kind.
func (k OpKind) Row() OpRow { return opRows[k] }

// CallRow is what is said of a system call.
type CallRow struct {
	Name string
	// Args has the form of each argument, see package words. "-" is not shown; what is
	// no form stands there as it is. Default: the call is shown by its name.
	Args string
	// Effect is what the call changes. Undeclared: see EffectOf, or a recipe says.
	Effect Effect
	// OnFD: argument 0 is a descriptor.
	OnFD bool
}

// callRows has a line for each call, without columns: a line that is added changes no
// other one.
var callRows = func(rows ...callRow) map[uint32]CallRow {
	m := make(map[uint32]CallRow, len(rows))
	for _, r := range rows {
		m[r.nr] = CallRow{r.name, r.args, r.effect, r.onFD}
	}
	return m
}(
	callRow{unix.SYS_ACCEPT4, "accept4", "n,-,-,c", EffectGivesFD, true},
	callRow{unix.SYS_BIND, "bind", "n,a", EffectUndeclared, true},
	callRow{unix.SYS_CHDIR, "chdir", "s", EffectFolder, false},
	callRow{unix.SYS_CLOSE, "close", "n", EffectCloses, true},
	callRow{unix.SYS_CLOSE_RANGE, "close_range", "n,n", EffectClosesRange, false},
	callRow{unix.SYS_CONNECT, "connect", "n,a", EffectNothing, true},
	callRow{unix.SYS_DUP3, "dup3", "n,n,c", EffectReplaces, true},
	callRow{unix.SYS_EVENTFD2, "eventfd2", "n,c", EffectGivesFD, false},
	callRow{unix.SYS_EXECVE, "execve", "p", EffectBecomes, false},
	callRow{unix.SYS_EXIT_GROUP, "exit_group", "n", EffectEnds, false},
	callRow{unix.SYS_FCHMOD, "fchmod", "n,o", EffectNothing, true},
	callRow{unix.SYS_FCHMODAT, "fchmodat", "-,s,o", EffectNothing, false},
	callRow{unix.SYS_FCHOWN, "fchown", "n,n,n", EffectNothing, true},
	callRow{unix.SYS_FCHOWNAT, "fchownat", "-,s,n,n,AT_SYMLINK_NOFOLLOW", EffectNothing, false},
	callRow{unix.SYS_FCNTL, "fcntl", "n,n,n", EffectUndeclared, true},
	callRow{unix.SYS_FTRUNCATE, "ftruncate", "n,n", EffectNothing, true},
	callRow{unix.SYS_FUTEX, "futex", "-,FUTEX_WAKE_OP,-,-,w,-1", EffectCounts, false},
	callRow{unix.SYS_GETSOCKNAME, "getsockname", "n", EffectNothing, true},
	callRow{unix.SYS_LINKAT, "linkat", "-,s,-,s,-", EffectNothing, false},
	callRow{unix.SYS_LISTEN, "listen", "n,n", EffectNothing, true},
	callRow{unix.SYS_LSEEK, "lseek", "n,n,n", EffectNothing, true},
	callRow{unix.SYS_MEMFD_CREATE, "memfd_create", "s", EffectGivesFD, false},
	callRow{unix.SYS_MKDIRAT, "mkdirat", "-,s,o", EffectNothing, false},
	callRow{unix.SYS_MKNODAT, "mknodat", "-,s,o,-", EffectNothing, false},
	callRow{unix.SYS_MMAP, "mmap", "x,x,n,x,n,x", EffectMaps, false},
	callRow{unix.SYS_OPENAT, "openat", "-,s,f", EffectGivesFD, false},
	callRow{unix.SYS_OPENAT2, "openat2", "-,s,h", EffectGivesFD, false},
	callRow{unix.SYS_PIPE2, "pipe2", "-,c", EffectGivesPair, false},
	callRow{unix.SYS_PPOLL, "ppoll", "-,n,-", EffectNothing, false},
	callRow{unix.SYS_PRCTL, "prctl", "PR_SET_NAME,s", EffectUndeclared, false},
	callRow{unix.SYS_PRLIMIT64, "prlimit64", "-,RLIMIT_NOFILE,l", EffectLimit, false},
	callRow{unix.SYS_PWRITE64, "pwrite64", "n,t,n,n", EffectNothing, true},
	callRow{unix.SYS_READ, "read", "n,-,n", EffectNothing, true},
	callRow{unix.SYS_RT_SIGACTION, "rt_sigaction", "n,SIG_DFL", EffectNothing, false},
	callRow{unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", "SIG_SETMASK,none", EffectNothing, false},
	callRow{unix.SYS_SENDMSG, "sendmsg", "n,r", EffectNothing, true},
	callRow{unix.SYS_SETPRIORITY, "setpriority", "PRIO_PROCESS,-,n", EffectNothing, false},
	callRow{unix.SYS_SETSID, "setsid", "", EffectSession, false},
	callRow{unix.SYS_SETSOCKOPT, "setsockopt", "n,SO_RCVTIMEO", EffectNothing, true},
	callRow{unix.SYS_SET_ROBUST_LIST, "set_robust_list", "n", EffectNothing, false},
	callRow{unix.SYS_SHUTDOWN, "shutdown", "n,n", EffectNothing, true},
	callRow{unix.SYS_SIGALTSTACK, "sigaltstack", "SS_DISABLE", EffectNothing, false},
	callRow{unix.SYS_SIGNALFD4, "signalfd4", "n,-,-,c", EffectGivesFD, false},
	callRow{unix.SYS_SOCKET, "socket", "AF_UNIX,y", EffectGivesFD, false},
	callRow{unix.SYS_SOCKETPAIR, "socketpair", "AF_UNIX,y", EffectGivesPair, false},
	callRow{unix.SYS_UMASK, "umask", "o", EffectNothing, false},
	callRow{unix.SYS_UNLINKAT, "unlinkat", "-,s,-", EffectNothing, false},
	callRow{unix.SYS_UNSHARE, "unshare", "CLONE_FILES", EffectUndeclared, false},
	callRow{unix.SYS_UTIMENSAT, "utimensat", "n", EffectNothing, true},
	callRow{unix.SYS_WRITE, "write", "n,t,n", EffectNothing, true},
)

type callRow struct {
	nr         uint32
	name, args string
	effect     Effect
	onFD       bool
}

// CallRowOf gives what is said of the system call with a number.
func CallRowOf(nr uint32) CallRow {
	if row, ok := callRows[nr]; ok {
		return row
	}
	return CallRow{Name: fmt.Sprintf("syscall %d", nr)}
}

// Category sorts ops for who looks at a trace.
type Category string

// The categories.
const (
	CategoryStore   Category = "store"
	CategoryBarrier Category = "barrier"
	CategoryFork    Category = "fork"
	CategoryInstall Category = "install"
	CategoryMake    Category = "make"
	CategoryTask    Category = "task"
)

// VerbRow is what is said of the reason for an op.
type VerbRow struct {
	Words    string // with what package words puts into braces
	Category Category
	For      int // the argument that is the task for which the runner or the root does the op, 0: it has none
}

var verbRows = map[Verb]VerbRow{
	VerbSetUp:    {Words: "set up", Category: CategoryTask},
	VerbFork:     {Words: "fork", Category: CategoryFork},
	VerbPull:     {Words: "{pull}", Category: CategoryStore},
	VerbMake:     {Words: "make file {entry}{for}", Category: CategoryMake},
	VerbInstall:  {Words: "install fd {fd} from file {file}", Category: CategoryInstall},
	VerbClose:    {Words: "close helpers", Category: CategoryInstall},
	VerbMove:     {Words: "clear fd {fd}", Category: CategoryInstall},
	VerbLimit:    {Words: "set RLIMIT_NOFILE", Category: CategoryTask},
	VerbWay:      {Words: "change folder", Category: CategoryTask, For: 2},
	VerbChdir:    {Words: "change folder", Category: CategoryTask},
	VerbName:     {Words: "set name", Category: CategoryTask},
	VerbReady:    {Words: "count as ready", Category: CategoryBarrier},
	VerbGate:     {Words: "wait for release", Category: CategoryBarrier},
	VerbExec:     {Words: "run", Category: CategoryTask},
	VerbHold:     {Words: "hold", Category: CategoryTask},
	VerbAdd:      {Words: "put {added} into the store", Category: CategoryStore},
	VerbFind:     {Words: "look up program", Category: CategoryTask, For: 3},
	VerbTruncate: {Words: "truncate file {file}", Category: CategoryMake},
	VerbLend:     {Words: "lend file {file} to the root", Category: CategoryMake},
	VerbMeet:     {Words: "wait for other tasks", Category: CategoryBarrier},
	VerbMap:      {Words: "map the user to 0", Category: CategoryTask},
	VerbHelper:   {Words: "a helper of its own in the shared table", Category: CategoryInstall},
	VerbChannel:  {Words: "open a channel to the service", Category: CategoryStore},

	VerbLeave:     {Words: "end by plan", Category: CategoryTask},
	VerbWire:      {Words: "set up fd {fd} of file {file}", Category: CategoryInstall},
	VerbAttribute: {Words: "set attributes", Category: CategoryTask},
	VerbBench:     {Words: "a bench for file {entry}", Category: CategoryMake},
}

// Row gives what is said of the verb.
func (v Verb) Row() VerbRow { return verbRows[v] }

// For gives the task for which the runner, or the root task, does an op.
func (n Note) For(op *Op) (task int, ok bool) {
	if i := n.Verb.Row().For; i > 0 {
		return int(op.Args[i]), true
	}
	return 0, false
}
