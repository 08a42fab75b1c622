package postfork

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/program"
)

// patience is how long a test waits for what must come. It is only there to end a
// test that hangs: no verdict depends on how long something takes.
const patience = 3 * time.Minute

// mapped maps an arena at the first place that is free.
func mapped(t *testing.T, size int) *Arena {
	t.Helper()
	for i := range program.BaseTries {
		a, err := Map(program.Place(i), size, nil)
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Unmap(); err != nil {
				t.Error(err)
			}
		})
		return a
	}
	t.Fatal("no place is free")
	return nil
}

// mapping gives the mapping that holds addr, as the kernel lists it: its range
// and its permissions. "" if there is none.
func mapping(t *testing.T, addr uint64) string {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for m := range strings.Lines(string(maps)) {
		var lo, hi uint64
		var perms string
		if _, err := fmt.Sscanf(m, "%x-%x %s", &lo, &hi, &perms); err != nil {
			t.Fatalf("%q: %v", m, err)
		}
		if lo <= addr && addr < hi {
			return fmt.Sprintf("%x+%d %s", lo, hi-lo, perms)
		}
	}
	return ""
}

func TestMap(t *testing.T) {
	page := os.Getpagesize()
	a := mapped(t, page+100)
	private := a.Base - program.PrivateGap
	for addr, want := range map[uint64]string{
		a.Base:                  fmt.Sprintf("%x+%d rw-s", a.Base, 2*page),
		private:                 fmt.Sprintf("%x+%d rw-p", private, page),
		a.Base - 1:              "",
		private - 1:             "",
		a.Base + uint64(2*page): "",
		private + uint64(page):  "",
	} {
		if got := mapping(t, addr); got != want {
			t.Errorf("at %#x: %q, want %q", addr, got, want)
		}
	}
	if a.Size() != uint64(2*page) || len(a.Bytes()) != 2*page || len(a.PrivateBytes()) != program.PrivateSize {
		t.Errorf("sizes %d, %d, %d", a.Size(), len(a.Bytes()), len(a.PrivateBytes()))
	}
	if !bytes.Equal(a.Bytes(), make([]byte, 2*page)) {
		t.Error("not zero")
	}
}

// TestMapCode holds that code lies in a page of its own, which can be run and not be
// written, and that it goes with the rest.
func TestMapCode(t *testing.T) {
	base, code := program.Place(program.BaseTries-1), []byte("code")
	at := base - program.CodeGap
	taken, err := Map(base+program.CodeGap, program.HeadSize, nil) // its private page lies where the code must
	if err != nil {
		t.Fatal(err)
	}
	if a, err := Map(base, program.HeadSize, code); !errors.Is(err, unix.EEXIST) || a != nil {
		t.Errorf("taken: %v, want EEXIST", err)
	}
	if err := taken.Unmap(); err != nil {
		t.Fatal(err)
	}
	for _, m := range []uint64{base, at, base - program.PrivateGap} {
		if got := mapping(t, m); got != "" {
			t.Errorf("left behind: %s", got)
		}
	}
	a, err := Map(base, program.HeadSize, code)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mapping(t, at), fmt.Sprintf("%x+%d r-xp", at, os.Getpagesize()); got != want {
		t.Errorf("the page of code is %q, want %q", got, want)
	}
	page := make([]byte, program.CodeSize)
	if err := proc.ReadMemory(page, at); err != nil || !bytes.HasPrefix(page, append(code, 0)) {
		t.Errorf("%q, %v", page[:10], err)
	}
	if err := a.Unmap(); err != nil {
		t.Fatal(err)
	}
	if got := mapping(t, at); got != "" {
		t.Errorf("still there: %s", got)
	}
	if err := proc.ReadMemory(page, at); err == nil {
		t.Error("memory that is not mapped was read")
	}
}

// TestMapTaken holds that what is there stays, and that nothing is left of a
// half that found room.
func TestMapTaken(t *testing.T) {
	page := os.Getpagesize()
	a := mapped(t, page)
	copy(a.Bytes(), "shared")
	copy(a.PrivateBytes(), "private")
	for name, at := range map[string]uint64{
		"both":    a.Base,
		"private": a.Base + program.PrivateGap, // its private page would be a's shared part
		"shared":  a.Base - program.PrivateGap, // its shared part would be a's private page
	} {
		b, err := Map(at, page, nil)
		if !errors.Is(err, unix.EEXIST) || b != nil {
			t.Errorf("%s taken: %v, want EEXIST", name, err)
		}
	}
	for _, at := range []uint64{a.Base + program.PrivateGap, a.Base - 2*program.PrivateGap} {
		if m := mapping(t, at); m != "" {
			t.Errorf("left behind: %s", m)
		}
	}
	if !bytes.HasPrefix(a.Bytes(), []byte("shared\x00")) || !bytes.HasPrefix(a.PrivateBytes(), []byte("private\x00")) {
		t.Error("what was there has changed")
	}
}

func TestUnmap(t *testing.T) {
	page := os.Getpagesize()
	base := mapped(t, page).Base + program.BaseStep/2 // a place of its own: another test's arena is no matter
	for range 2 {
		a, err := Map(base, page, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Unmap(); err != nil {
			t.Fatal(err)
		}
		for _, at := range []uint64{base, base - program.PrivateGap} {
			if m := mapping(t, at); m != "" {
				t.Errorf("still there: %s", m)
			}
		}
	}
}

// TestParts holds that the typed views lie where addresses say.
func TestParts(t *testing.T) {
	plan := program.NewArena(0, 2)
	a := mapped(t, len(plan.Data())+2*program.OpSize)
	plan.Base = a.Base
	a.Head().StoreFD = 0x1122
	a.Record(1).Ops = 0x3344
	ops := []program.Op{{Kind: program.OpFork, Want: 5}, {Kind: program.OpHold, Args: [6]uint64{5: 0x5566}}}
	at := a.Base + uint64(len(plan.Data()))
	a.PutOps(at, ops)

	for name, c := range map[string]struct{ addr, want uint64 }{
		"Head.StoreFD":  {a.Base + program.HeadStoreFD, 0x1122},
		"Record(1).Ops": {plan.Record(1) + 40, 0x3344},
		"Ops[0].Want":   {at + 64, 5},
		"Ops[1].Args":   {at + program.OpSize + 16 + 5*8, 0x5566},
	} {
		if got := program.WordsAt(a.Base, a.Bytes(), c.addr, 1); got[0] != c.want {
			t.Errorf("%s: %#x, want %#x", name, got[0], c.want)
		}
	}
}

func TestLoadStoreRaise(t *testing.T) {
	word := &mapped(t, program.HeadSize).Head().Left
	Store(word, 5)
	Raise(word, program.AbortBit)
	Raise(word, program.AbortBit)
	if got := Load(word); got != program.AbortBit|5 {
		t.Errorf("%#x, want AbortBit and the count", got)
	}
}

// TestWaitReturns holds each reason for which a wait ends by itself.
func TestWaitReturns(t *testing.T) {
	word := &mapped(t, program.HeadSize).Head().Bell
	Store(word, 3)
	for _, c := range []struct {
		name        string
		v           uint32
		d           time.Duration
		least, most time.Duration
	}{
		{"another value", 4, time.Hour, 0, patience},
		{"the time is over", 3, 20 * time.Millisecond, 15 * time.Millisecond, patience},
		{"it was over before", 3, -time.Hour, 0, patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			for took := time.Duration(0); took == 0 || took < c.least; { // a signal ends a wait early
				Wait(word, c.v, c.d)
				took = time.Since(start)
			}
			if took := time.Since(start); took > c.most {
				t.Errorf("took %v", took)
			}
		})
	}
}

// TestWake holds that one wake ends the wait of everybody.
func TestWake(t *testing.T) {
	const waiters = 3
	word := &mapped(t, program.HeadSize).Head().Bell
	var asleep atomic.Int32 // or about to
	done := make(chan bool)
	for range waiters {
		go func() {
			for Load(word) == 0 {
				asleep.Add(1)
				Wait(word, 0, time.Minute)
			}
			done <- true
		}()
	}
	for asleep.Load() < waiters {
		runtime.Gosched()
	}
	time.Sleep(20 * time.Millisecond) // for most to be in the kernel; nothing goes wrong if not
	Store(word, 1)
	Wake(word)
	for range waiters {
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("somebody was not woken")
		}
	}
}

func TestCall(t *testing.T) {
	if pid, err := Call(unix.SYS_GETPID, [6]uint64{}); err != nil || pid != int64(os.Getpid()) {
		t.Errorf("getpid: %d, %v", pid, err)
	}
	if _, err := Call(unix.SYS_CLOSE, [6]uint64{1<<32 - 1}); !errors.Is(err, unix.EBADF) {
		t.Errorf("close(-1): %v, want EBADF", err)
	}
}

// TestCodeAddress holds that the address which decides what code a task keeps
// is the interpreter's.
func TestCodeAddress(t *testing.T) {
	addr := CodeAddress()
	if name := runtime.FuncForPC(uintptr(addr)).Name(); !strings.HasSuffix(name, "postfork.interp") {
		t.Errorf("%#x is in %s", addr, name)
	}
	if m := mapping(t, addr); !strings.Contains(m, " r-x") {
		t.Errorf("%#x is not code: %q", addr, m)
	}
}
