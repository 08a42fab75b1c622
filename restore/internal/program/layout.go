package program

import "encoding/binary"

// Where a plan lies by default: the first place in the lowest GiB, where the code of a
// program that is not position-independent lies too, so that one page of the middle page
// tables serves both (each task has its own, and the kernel clears each). The private page
// and the first MiB of the plan share a page of the lowest ones. All places are below 2^39,
// so that they exist with 39-bit addresses (arm64 with three levels), and far from what the
// Go runtime, the race detector and the dynamic linker choose.
const (
	DefaultBase = 0x2010_0000
	BaseStep    = 0x01_0000_0000 // to the next place to try if that one is taken
	BaseTries   = 64

	PageSize    = 4096    // the layout's unit; kernels with larger pages only round up mappings
	PrivateGap  = 1 << 17 // from the private page up to Base; a multiple of 64 KiB pages
	PrivateSize = 4096
	CodeGap     = 1 << 16 // from the page of code up to Base, if the plan has one
	CodeSize    = 4096
)

// Where a plan may lie: Base is a multiple of BaseUnit from LowestBase on, and the plan
// ends at EndOfBases at the latest.
const (
	BaseUnit   = 1 << 16       // the largest pages of arm64
	LowestBase = 1 << 24       // no number of a task is as high, see OpHelp; and vm.mmap_min_addr is below
	EndOfBases = 1<<47 - 1<<16 // of what a process has with page tables of four levels
)

// Place gives one of the places for a plan, from 0 up to BaseTries - 1.
func Place(n int) uint64 { return DefaultBase + uint64(n)*BaseStep }

// The private page of a task: working memory of the executor, the task's
// argument list and, from the end downwards, its stack.
//
//	0        256        512        704                    1736       3016     4096
//	│ name   │ mm_map.. │ scratch  │ received descriptors │ sequence │ ◀─ stack │
const (
	PrivName    = 0 // the argument list: MaxNameLen bytes and a NUL
	PrivMMMap   = 256
	PrivMsghdr  = 384
	PrivIovec   = 448
	PrivPayload = 464
	PrivPair    = 480
	PrivArgs    = 496
	PrivTries   = 544
	PrivStat    = 560
	PrivCmsg    = 704            // a link of FDFolder and what it says, too
	PrivCmsgLen = 16 + 4*253 + 4 // cmsghdr, SCM_MAX_FD descriptors, padding

	PrivWork     = 1736 // of an op that is a sequence of calls
	PrivWorkSize = 1280
)

// Words of Head.Left and Head.Started: a count of tasks, and a flag beside it,
// so that one futex tells both.
const (
	AbortBit  = 1 << 30
	CountMask = AbortBit - 1
)

// Words of Head.Gate and Record.Word. They are robust futexes, see
// get_robust_list(2): the kernel itself raises FutexDead when the owner is gone.
const (
	GateOpen     = 0
	GateDead     = FutexDead   // a bit: the others may be there, too
	FutexWaiters = 0x8000_0000 // FUTEX_WAITERS
	FutexDead    = 0x4000_0000 // FUTEX_OWNER_DIED
)

// Head lies at Base. The planner leaves it zero, the runner fills it before
// the first clone. Offsets are given because ops refer to fields by address.
type Head struct {
	Left    uint32 // tasks that are not ready, and AbortBit
	Started uint32 // held tasks that do not hold yet, and AbortBit
	Gate    uint32 // closed: tid of the owner | FutexWaiters, then GateOpen or GateDead
	Bell    uint32 // always 0: the kernel wakes its waiter when a task ends or execs
	Dummy   uint32 // woken by FUTEX_WAKE_OP, nobody waits
	NKeep   uint32
	Poll    [2]int64 // timespec: how long a wait on Gate lasts at most

	StoreFD     uint64 // the store's descriptor in the runner
	StoreNumber uint64 // of its payloads

	Base, Size uint64 // what OpHold unmaps
	Records    uint64 // address of the first Record
	Private    uint64 // address of the private page
	Interp     uint64 // address of the code of the executor
	Fork       uint64 // address of the code that makes a task

	RootPIDFD uint64 // where clone3 puts the root's pidfd (int32)

	OwnerList Robust // robust list of the thread that owns Gate
	OwnerNode uint64 // its one entry; Gate lies at OwnerNode + OwnerList.Offset

	MMMap [13]uint64 // struct prctl_mm_map, a template
	Keep  [MaxKeep]Range
	Rseq  Rseq // of the thread that clones the root, what OpShed unregisters

	FDFolder [16]byte // the string FDFolder

	Slots uint64 // address of the numbers that open files have in a bench, by slot; 0: there is none

	NProcDevs uint64              // more than MaxProcDevs: ProcDevs does not have them all
	ProcDevs  [MaxProcDevs]uint64 // st_dev of each procfs that can be reached
}

// MaxProcDevs is how many procfs instances Head has. With more of them a task looks
// at all mounts of procfs for each file that lies on no device.
const MaxProcDevs = 16

// Mounts of procfs lie behind Head's page, one ProcMount after the other, up to one
// whose Next is 0. Only a task that has opened a file of a procfs reads them.
const (
	ProcMounts    = PageSize
	ProcMountsEnd = HeadSize
)

// ProcMount is one of them, see package safepath. Its mount point follows it: Len
// bytes, and as many as make Next a multiple of 8.
type ProcMount struct {
	Dev  uint64
	Next uint32 // bytes to the next one
	Len  uint16
	Part uint16 // a safepath.Part
}

// PutProcMount writes a mount and its mount point to the start of table.
func PutProcMount(table []byte, m ProcMount, point string) {
	binary.NativeEndian.PutUint64(table, m.Dev)
	binary.NativeEndian.PutUint32(table[8:], m.Next)
	binary.NativeEndian.PutUint16(table[12:], m.Len)
	binary.NativeEndian.PutUint16(table[14:], m.Part)
	copy(table[ProcMountSize:], point)
}

// ProcMountSize is the size of a ProcMount without its mount point.
const ProcMountSize = 16

// FDFolder and a number is the path by which a process can open what it has open.
const FDFolder = "/proc/self/fd/"

// Offsets in Head that ops and code without types need.
const (
	HeadLeft      = 0
	HeadStarted   = 4
	HeadGate      = 8
	HeadDummy     = 16
	HeadStoreFD   = 40
	HeadNumber    = 48
	HeadPrivate   = 80
	HeadInterp    = 88
	HeadRootPIDFD = 104
)

// HeadSize is how far the first Record is from Base. Head needs one page, and most
// trees never touch the others, so they do not exist: a task that reads Head gets that
// page alone, where the kernel would map those beside it, too (fault_around_bytes,
// 64 KiB) and have to unmap them when the task lets go of the plan.
const HeadSize = 1 << 16

// MaxKeep is how many ranges of memory a task can keep when it sheds the rest.
const MaxKeep = 192

// Rseq is what a thread has registered with rseq(2), since Linux 4.18: an area to which
// the kernel writes whenever the thread was preempted. The zero value is none.
type Rseq struct {
	Area      uint64
	Size      uint32
	Signature uint32
}

// Range is a range of addresses, from Lo up to but without Hi.
type Range struct{ Lo, Hi uint64 }

// Robust is struct robust_list_head: the kernel walks it when a thread ends or
// execs. See Documentation/locking/robust-futex-ABI.rst in the kernel.
type Robust struct {
	Next    uint64
	Offset  uint64
	Pending uint64
}

// Record is what is known of one process: the tasks have the first ones, by their
// index, the helpers the next, see plan.HelperProcess; a bench and its children, which use
// Ops, Op, Errno and Got alone, have one each. The kernel writes PID before the task
// runs (CLONE_PARENT_SETTID) and Word (CLONE_CHILD_SETTID); the task itself writes when it fails and when it holds.
type Record struct {
	Robust Robust
	Node   uint64 // the one entry of the robust list; Word lies at Node + 8
	Word   uint32 // pid while it lives and has not exec'd, then FutexDead
	PID    int32  // in the tree's pid namespace
	Ops    uint64 // address of its first op
	Op     uint32 // the op that failed
	Errno  int32  // why: an errno, or a Reason from ReasonFirst on
	Got    int64  // the result that was not the one demanded
	Holds  uint32 // 1 once the task holds
	Begun  uint32 // one of the Begun constants
}

// Values of Record.Begun.
const (
	BegunNot    = iota // nobody would learn of the task's death
	Begun              // the kernel tells of it
	BegunToEnd         // the task is about to end by plan: its death is no failure
	BegunHelper        // the process is a helper, whose end its task waits for
)

// Offsets and size of Record.
const (
	RecordNode  = 24
	RecordWord  = 32
	RecordPID   = 36
	RecordHolds = 64
	RecordBegun = 68
	RecordSize  = 72
)

// CloneArgsSize is the size of struct clone_args up to and with cgroup, see
// clone3(2). An array of two int32 pids may follow.
const CloneArgsSize = 88

// Reasons for which an op fails that are no errno of the kernel.
const (
	ReasonFirst    = 4096 + iota
	ReasonUnwanted // the result is not the one that the plan demands
	ReasonFIFO     // the path is a FIFO
	ReasonSocket   // the path is a socket
	ReasonForeign  // the store did not deliver the message, after all tries
	ReasonCanceled // another task failed, or the runner is gone
	ReasonHelper   // a helper was killed before it had forked all that it should
	ReasonProcess  // the path is a process's own entry in /proc
	ReasonTerminal // the path is the controlling terminal
	ReasonChanged  // the path leads elsewhere when it is opened a second time
	ReasonSpecial  // the path of a program is a device, a FIFO or a socket
)
