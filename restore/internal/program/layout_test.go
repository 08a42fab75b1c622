package program

import (
	"testing"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
)

// TestPlaces holds that every place for a plan exists and that the parts of a
// plan do not meet.
func TestPlaces(t *testing.T) {
	const (
		largePage = 1 << 16 // arm64
		userEnd   = 1 << 39 // arm64 with three levels of 4 KiB pages
		last      = DefaultBase + (BaseTries-1)*BaseStep
	)
	for name, n := range map[string]uint64{"DefaultBase": DefaultBase, "BaseStep": BaseStep, "PrivateGap": PrivateGap} {
		if n%largePage != 0 {
			t.Errorf("%s %#x is not a multiple of %#x", name, n, largePage)
		}
	}
	if last+BaseStep > userEnd {
		t.Errorf("the last place %#x is not below %#x", last, userEnd)
	}
	if PrivateSize > largePage || PrivateGap < 2*largePage {
		t.Error("a private page, as large as pages are, must end before Base")
	}
	if HeadSize%8 != 0 || RecordSize%8 != 0 || OpSize%8 != 0 {
		t.Error("what follows would not be aligned")
	}
}

func TestWords(t *testing.T) {
	if tasktree.MaxTasks > CountMask || CountMask&AbortBit != 0 {
		t.Errorf("a count of %d tasks reaches into AbortBit", tasktree.MaxTasks)
	}
	// linux/futex.h; the tid below them.
	if FutexWaiters != 1<<31 || FutexDead != 1<<30 || tasktree.MaxPID >= FutexDead {
		t.Error("these are not the kernel's bits")
	}
	const maxErrno = 4095 // MAX_ERRNO in linux/err.h
	seen := map[int]bool{}
	for _, r := range []int{ReasonFirst, ReasonUnwanted, ReasonFIFO, ReasonSocket, ReasonForeign, ReasonCanceled, ReasonHelper, ReasonProcess, ReasonTerminal, ReasonChanged, ReasonSpecial} {
		if r <= maxErrno || r < ReasonFirst || seen[r] {
			t.Errorf("reason %d is an errno, or another reason", r)
		}
		seen[r] = true
	}
	if CloneArgsSize != unix.CLONE_ARGS_SIZE_VER2 {
		t.Errorf("struct clone_args with %d bytes, the kernel's has %d", CloneArgsSize, unix.CLONE_ARGS_SIZE_VER2)
	}
}

// TestModes holds that each argument has a mode of its own.
func TestModes(t *testing.T) {
	var op Op
	modes := [6]Mode{ModeSlot, ModeLoad, ModeValue, ModeLoad, ModeSlot, ModeLoad}
	for range 2 { // the second time over what is there
		for i, m := range modes {
			op.SetMode(i, m)
		}
		for i, m := range modes {
			if got := op.Mode(i); got != m {
				t.Errorf("argument %d has mode %d, want %d", i, got, m)
			}
		}
		modes = [6]Mode{ModeValue, ModeSlot, ModeLoad, ModeValue, ModeLoad, ModeSlot}
	}
	if (&Op{}).Mode(5) != ModeValue {
		t.Error("an argument is a value if nothing else is said")
	}
}
