package program

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
)

// TestLayout holds the numbers that code without types, and the kernel, go by.
func TestLayout(t *testing.T) {
	var (
		head   Head
		record Record
		op     Op
	)
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"size of Op", unsafe.Sizeof(op), OpSize},
		{"size of Record", unsafe.Sizeof(record), RecordSize},
		{"Record.Robust", unsafe.Offsetof(record.Robust), 0},
		{"Record.Node", unsafe.Offsetof(record.Node), RecordNode},
		{"Record.Word", unsafe.Offsetof(record.Word), RecordWord},
		{"Record.PID", unsafe.Offsetof(record.PID), RecordPID},
		{"Record.Holds", unsafe.Offsetof(record.Holds), RecordHolds},
		{"Record.Word from Node", unsafe.Offsetof(record.Word) - unsafe.Offsetof(record.Node), 8},

		{"Head.Bell", unsafe.Offsetof(head.Bell), 12}, // restore/internal/runner: initRecord
		{"Head.Left", unsafe.Offsetof(head.Left), HeadLeft},
		{"Head.Started", unsafe.Offsetof(head.Started), HeadStarted},
		{"Head.Gate", unsafe.Offsetof(head.Gate), HeadGate},
		{"Head.Dummy", unsafe.Offsetof(head.Dummy), HeadDummy},
		{"Head.StoreFD", unsafe.Offsetof(head.StoreFD), HeadStoreFD},
		{"Head.StoreNumber", unsafe.Offsetof(head.StoreNumber), HeadNumber},
		{"Head.Private", unsafe.Offsetof(head.Private), HeadPrivate},
		{"Head.Interp", unsafe.Offsetof(head.Interp), HeadInterp},
		{"Head.RootPIDFD", unsafe.Offsetof(head.RootPIDFD), HeadRootPIDFD},
		{"size of Head.Keep", unsafe.Sizeof(head.Keep), MaxKeep * 16},

		// struct robust_list_head in linux/futex.h.
		{"size of Robust", unsafe.Sizeof(Robust{}), 24},
		{"Robust.Next", unsafe.Offsetof(head.OwnerList.Next), 0},
		{"Robust.Offset", unsafe.Offsetof(head.OwnerList.Offset), 8},
		{"Robust.Pending", unsafe.Offsetof(head.OwnerList.Pending), 16},
		// struct timespec.
		{"size of Head.Poll", unsafe.Sizeof(head.Poll), unsafe.Sizeof(unix.Timespec{})},
		// struct prctl_mm_map in linux/prctl.h: 11 addresses, a pointer, two 32-bit numbers.
		{"size of Head.MMMap", unsafe.Sizeof(head.MMMap), 13 * 8},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.name, c.got, c.want)
		}
	}
	if size := unsafe.Sizeof(head); size > PageSize {
		t.Errorf("Head has %d bytes, and a page has %d", size, PageSize)
	}
	// A 32-bit word that the kernel takes for a futex or a number must be aligned.
	for name, offset := range map[string]uintptr{
		"Left": unsafe.Offsetof(head.Left), "Started": unsafe.Offsetof(head.Started), "Gate": unsafe.Offsetof(head.Gate),
		"Dummy": unsafe.Offsetof(head.Dummy), "RootPIDFD": unsafe.Offsetof(head.RootPIDFD), "OwnerNode": unsafe.Offsetof(head.OwnerNode),
	} {
		if offset%4 != 0 {
			t.Errorf("Head.%s at %d is not aligned", name, offset)
		}
	}
}

// TestPrivatePage holds that what an executor works with has room, lies apart,
// and leaves its stack enough.
func TestPrivatePage(t *testing.T) {
	// The linker allows 800 bytes to a chain of functions that may not split
	// the stack; the switch to the stack and its alignment come on top.
	const stack = 800 + 224
	end, before := uintptr(0), "the start"
	for _, f := range []struct {
		name     string
		at, size uintptr
	}{
		{"name", PrivName, tasktree.MaxNameLen + 1},
		{"mm_map", PrivMMMap, unsafe.Sizeof(Head{}.MMMap)},
		{"msghdr", PrivMsghdr, unsafe.Sizeof(unix.Msghdr{})},
		{"iovec", PrivIovec, unsafe.Sizeof(unix.Iovec{})},
		{"payload", PrivPayload, 16}, // fdstore.PayloadSize
		{"pair", PrivPair, max(8, unsafe.Sizeof(unix.Timespec{}))},
		{"arguments", PrivArgs, unsafe.Sizeof(Op{}.Args)},
		{"tries", PrivTries, 8},
		{"stat", PrivStat, unsafe.Sizeof(unix.Stat_t{})},
		{"control message", PrivCmsg, PrivCmsgLen},
		{"sequence", PrivWork, PrivWorkSize},
		{"stack", PrivateSize - stack, stack},
	} {
		if f.at < end {
			t.Errorf("%s starts at %d, inside of %s, which ends at %d", f.name, f.at, before, end)
		}
		if f.at%8 != 0 {
			t.Errorf("%s at %d is not aligned", f.name, f.at)
		}
		end, before = f.at+f.size, f.name
	}
	if end > PrivateSize {
		t.Errorf("%s ends at %d, the page at %d", before, end, PrivateSize)
	}
	const maxFiles = 253 // fdstore.MaxGroup
	if want := unix.CmsgSpace(4 * maxFiles); want > PrivCmsgLen {
		t.Errorf("%d bytes for a control message, the largest has %d", PrivCmsgLen, want)
	}
}
