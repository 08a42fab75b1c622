package postfork

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// robustList asks the kernel for the calling thread's robust list.
func robustList(t *testing.T) uintptr {
	t.Helper()
	var head, size uintptr
	if _, _, e := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size))); e != 0 {
		t.Fatal(os.NewSyscallError("get_robust_list", e))
	}
	return head
}

// closedGate is the word of a gate that this thread owns.
func closedGate() uint32 { return uint32(unix.Gettid()) | program.FutexWaiters }

// TestGateWait holds that waiting for the tasks tells whether they came or the restore was
// aborted, and decides nothing.
func TestGateWait(t *testing.T) {
	for _, c := range []struct {
		name string
		left uint32 // in the end
		want bool
	}{{"all came", 0, true}, {"aborted", 2 | program.AbortBit, false}, {"aborted when all came", program.AbortBit, false}} {
		t.Run(c.name, func(t *testing.T) {
			a := mapped(t, program.HeadSize)
			left := &a.Head().Left
			Store(left, 3)
			err := a.DecideGate(func(g Gate) error {
				go func() {
					Store(left, c.left)
					Wake(left)
				}()
				if got := g.Wait(); got != c.want {
					t.Errorf("got %v", got)
				}
				if state := g.State(); state != GateClosed {
					t.Errorf("state %d after waiting", state)
				}
				if c.want {
					g.Open()
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if state, want := (Gate{a.Head()}).State(), map[bool]GateState{true: GateOpen, false: GateDead}[c.want]; state != want {
				t.Errorf("state %d in the end, want %d", state, want)
			}
		})
	}
}

// TestDecideGate holds what a gate is while it is decided, and afterwards: never
// closed, however the deciding ends, and the thread has its old robust list.
func TestDecideGate(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name   string
		decide func(Gate) error
		want   uint32
		err    error
	}{
		{"opened", func(g Gate) error { g.Open(); return nil }, program.GateOpen, nil},
		{"killed", func(g Gate) error { g.Kill(); return nil }, program.GateDead, nil},
		{"left", func(Gate) error { return nil }, program.GateDead, nil},
		{"error", func(Gate) error { return failed }, program.GateDead, failed},
		{"panic", func(Gate) error { panic("panic") }, program.GateDead, nil},
		{"goexit", func(Gate) error { runtime.Goexit(); return nil }, program.GateDead, nil},
		{"opened, then an error", func(g Gate) error { g.Open(); return failed }, program.GateOpen, failed},
		{"opened, then killed", func(g Gate) error { g.Open(); g.Kill(); return nil }, program.GateOpen, nil},
		{"killed, then opened", func(g Gate) error { g.Kill(); g.Open(); return nil }, program.GateDead, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := mapped(t, program.HeadSize)
			done := make(chan error, 1)
			waited := make(chan uint32, 1)
			go func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				before := robustList(t)
				var err error
				defer func() {
					_ = recover()
					if after := robustList(t); after != before {
						t.Errorf("robust list at %#x afterwards, want %#x as before", after, before)
					}
					done <- err
				}()
				err = a.DecideGate(func(g Gate) error {
					checkClosed(t, a)
					go func() { waited <- awaitChange(&a.Head().Gate) }()
					return c.decide(g)
				})
			}()
			if err := <-done; !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("got %v, want %v", err, c.err)
			}
			if got := Load(&a.Head().Gate); got != c.want {
				t.Errorf("gate %#x, want %#x", got, c.want)
			}
			if got := <-waited; got != c.want {
				t.Errorf("who waited found %#x, want %#x", got, c.want)
			}
		})
	}
}

// awaitChange waits until the gate has another word than that of this process's
// owner, and gives it.
func awaitChange(gate *uint32) uint32 {
	word := Load(gate)
	for word != program.GateOpen && word&program.GateDead == 0 {
		Wait(gate, word, time.Minute)
		word = Load(gate)
	}
	return word
}

func checkClosed(t *testing.T, a *Arena) {
	t.Helper()
	if got, want := Load(&a.Head().Gate), closedGate(); got != want {
		t.Errorf("gate %#x, want %#x: tid and FutexWaiters", got, want)
	}
	list := uint64(robustList(t))
	if list < a.Base || list >= a.Base+program.HeadSize {
		t.Errorf("robust list at %#x, outside of Head", list)
	}
	if a.Head().OwnerNode != list { // else the kernel would go round 2048 times
		t.Errorf("the list's entry goes on to %#x, want the list at %#x", a.Head().OwnerNode, list)
	}
}

// TestDecisionIsOneCall holds that a gate gets its word and that the waiters are
// woken by the same system call: the bits of its operands, by their effect.
func TestDecisionIsOneCall(t *testing.T) {
	for op, want := range map[uintptr]uint32{opGateOpen: program.GateOpen, opGateKill: program.GateDead} {
		a := mapped(t, program.HeadSize)
		gate := &a.Head().Gate
		Store(gate, closedGate())
		found := make(chan uint32)
		go func() { found <- awaitChange(gate) }()
		Wait(&a.Head().Bell, 0, 20*time.Millisecond) // for the waiter to be in the kernel; nothing goes wrong if not
		at := uintptr(unsafe.Pointer(gate))
		if _, _, e := unix.Syscall6(unix.SYS_FUTEX, at, futexWakeOp, everybody, 0, at, op); e != 0 {
			t.Fatalf("operand %#x: %v", op, e)
		}
		if got := <-found; got != want {
			t.Errorf("operand %#x: the waiter found %#x, want %#x", op, got, want)
		}
	}
}

// TestOwnerDies ends the thread that owns the gate: the kernel must mark the
// gate and wake who waits there, as it does when the whole process dies.
func TestOwnerDies(t *testing.T) {
	a := mapped(t, program.HeadSize)
	gate := &a.Head().Gate
	owned := make(chan uint32)
	var own func()
	own = func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() { // Go never ends the main thread: take another one
			done := make(chan bool)
			go func() { defer close(done); own() }()
			<-done
			runtime.UnlockOSThread()
			return
		}
		if _, err := a.ownGate(); err != nil {
			t.Error(err)
		}
		owned <- Load(gate)
		Wait(&a.Head().Bell, 0, 50*time.Millisecond) // for the test to wait at the gate first
		// A goroutine that ends locked takes its thread with it.
	}
	go own()
	word := <-owned
	for end := time.Now().Add(patience); Load(gate) == word && time.Now().Before(end); {
		Wait(gate, word, time.Minute)
	}
	if got := Load(gate); got&program.GateDead == 0 {
		t.Fatalf("gate %#x, want GateDead", got)
	}
	if !over(a.Head()) {
		t.Error("a task would not take this for the end")
	}
}

// head gives a mapped arena's head, filled as steps of tasks need it, and the
// private page.
func head(t *testing.T) (*Arena, *program.Head, unsafe.Pointer) {
	a := mapped(t, 2*program.HeadSize)
	h := a.Head()
	h.Base, h.Size, h.Private = a.Base, a.Size(), a.Base-program.PrivateGap
	h.Records = a.Base + program.HeadSize
	return a, h, unsafe.Pointer(&a.PrivateBytes()[0])
}

// countDown makes the call by which a task counts itself.
func countDown(t *testing.T, a *Arena, count uint64) {
	t.Helper()
	args := (&program.Arena{Base: a.Base}).CountDown(count)
	if _, err := Call(unix.SYS_FUTEX, [6]uint64(args)); err != nil {
		t.Error(err)
	}
}

func TestCounters(t *testing.T) {
	a, h, _ := head(t)
	h.Left, h.Started = 3, 2
	countDown(t, a, program.HeadLeft)
	if h.Left != 2 || h.Started != 2 || over(h) {
		t.Errorf("counted down to %#x, %#x", h.Left, h.Started)
	}
	abort(h)
	countDown(t, a, program.HeadStarted)
	if h.Left != program.AbortBit|2 || h.Started != program.AbortBit|1 || !over(h) {
		t.Errorf("aborted at %#x, %#x", h.Left, h.Started)
	}
	if h.Dummy != 0 || h.Gate != 0 || h.Bell != 0 {
		t.Error("another word has changed")
	}
}

func aborted(_ *testing.T, a *Arena) { abort(a.Head()) }

// TestLastWakes holds that whoever counts down to 0, or gives up, wakes those
// who wait for the counter.
func TestLastWakes(t *testing.T) {
	left := func(h *program.Head) *uint32 { return &h.Left }
	started := func(h *program.Head) *uint32 { return &h.Started }
	for _, c := range []struct {
		name string
		word func(h *program.Head) *uint32
		at   uint32
		end  func(t *testing.T, a *Arena)
	}{
		{"left", left, 1, func(t *testing.T, a *Arena) { countDown(t, a, program.HeadLeft) }},
		{"started", started, 1, func(t *testing.T, a *Arena) { countDown(t, a, program.HeadStarted) }},
		{"abort, left", left, 5, aborted},
		{"abort, none left", left, 0, aborted},
		{"abort, none to start", started, 0, aborted},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, h, _ := head(t)
			word := c.word(h)
			Store(word, c.at)
			done := make(chan bool)
			go func() {
				for Load(word) == c.at {
					Wait(word, c.at, time.Minute)
				}
				close(done)
			}()
			Wait(&h.Bell, 0, 20*time.Millisecond) // for the waiter to be in the kernel; nothing goes wrong if not
			c.end(t, a)
			select {
			case <-done:
			case <-time.After(patience):
				t.Fatal("the waiter was not woken")
			}
		})
	}
}

// TestWaitGate holds what ends a task's wait for the release.
func TestWaitGate(t *testing.T) {
	for _, c := range []struct {
		name       string
		gate, left uint32
		want       syscall.Errno
	}{
		{"released", program.GateOpen, 2, 0},
		{"aborted", 7 | program.FutexWaiters, 2 | program.AbortBit, program.ReasonCanceled},
		{"runner gone", program.FutexWaiters | program.FutexDead, 2, program.ReasonCanceled},
		{"aborted, whatever the gate says", program.GateOpen, 2 | program.AbortBit, program.ReasonCanceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, h, _ := head(t)
			h.Gate, h.Left = c.gate, c.left
			if over(h) != (c.want != 0) {
				t.Fatal("a task takes this for another state, and would wait for ever")
			}
			if e := waitGate(h, &h.Gate); e != c.want {
				t.Errorf("got %d, want %d", e, c.want)
			}
			if h.Left&program.CountMask != 2 {
				t.Errorf("count %d, want 2 as before", h.Left&program.CountMask)
			}
			if wantAbort := c.want != 0; h.Left&program.AbortBit != 0 != wantAbort {
				t.Errorf("left %#x", h.Left)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	a, h, priv := head(t)
	h.StoreFD = 17
	op := program.Op{Args: [6]uint64{a.Base + program.HeadStoreFD, a.Base + program.HeadStoreFD, 3, 4, 5, a.Base + program.HeadStoreFD}}
	op.SetMode(0, program.ModeLoad)
	op.SetMode(5, program.ModeLoad)
	if got, want := *arguments(h, priv, &op), [6]uint64{17, op.Args[1], 3, 4, 5, 17}; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNameArguments(t *testing.T) {
	a, h, priv := head(t)
	const at = program.HeadSize + 1000
	copy(a.Bytes()[at:], "worker\x00behind")
	for i := range h.MMMap {
		h.MMMap[i] = uint64(100 + i)
	}
	nameArguments(h, priv, a.Base+at, uint64(len("worker")))
	if got := string(a.PrivateBytes()[:8]); got != "worker\x00\x00" {
		t.Errorf("name %q", got)
	}
	want := h.MMMap
	want[7], want[8] = h.Private, h.Private+7 // arg_start, arg_end
	want[9], want[10] = h.Private+7, h.Private+7
	if got := *(*[13]uint64)(unsafe.Add(priv, program.PrivMMMap)); got != want {
		t.Errorf("mm_map %v, want %v", got, want)
	}
}

// TestShed unmaps between ranges to keep, all of them inside one arena but the
// first, which keeps everything below.
func TestShed(t *testing.T) {
	page := uint64(os.Getpagesize())
	a := mapped(t, 8*int(page))
	h, from := a.Head(), a.Base
	keep := []program.Range{{Lo: 0, Hi: from + 2*page}, {Lo: from + 3*page, Hi: from + 4*page}, {Lo: from + 4*page, Hi: from + 5*page}, {Lo: from + 7*page, Hi: 0}}
	h.NKeep = uint32(copy(h.Keep[:], keep))
	h.Rseq = program.Rseq{Area: a.Base, Size: 32, Signature: 1} // not this thread's
	if e := shed(h); e != unix.EINVAL || mapping(t, from+2*page) == "" {
		t.Fatalf("an area that the kernel does not know of: %v, page 2 is %q", e, mapping(t, from+2*page))
	}
	h.Rseq = program.Rseq{}
	if e := shed(h); e != 0 {
		t.Fatal(e)
	}
	for i, want := range []bool{true, true, false, true, true, false, false, true} {
		if got := mapping(t, from+uint64(i)*page) != ""; got != want {
			t.Errorf("page %d is there: %v, want %v", i, got, want)
		}
	}
}

func TestPair(t *testing.T) {
	_, _, priv := head(t)
	op := program.Op{Nr: unix.SYS_PIPE2}
	packed, e := pair(priv, &op, &[6]uint64{uint64(uintptr(unsafe.Add(priv, program.PrivPair))), unix.O_CLOEXEC | unix.O_NONBLOCK})
	if e != 0 {
		t.Fatal(e)
	}
	r, w := int(int32(packed)), int(packed>>32)
	defer unix.Close(r)
	defer unix.Close(w)
	if n, err := unix.Write(w, []byte("x")); n != 1 || err != nil {
		t.Errorf("the second half %d is not the write end: %v", w, err)
	}
	if n, err := unix.Read(r, make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("the first half %d is not its read end: %v", r, err)
	}
}
