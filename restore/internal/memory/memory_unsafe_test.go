package memory

import (
	"debug/elf"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// onMain is what the main thread is told, and what do is told if it calls OnThread.
var onMain struct {
	direct, called error
	calls          int
}

func init() { runtime.LockOSThread() } // the main goroutine has the main thread

func TestMain(m *testing.M) {
	_, onMain.direct = Rseq()
	OnThread(func() {
		_, onMain.called = Rseq()
		onMain.calls++
	})
	os.Exit(m.Run())
}

// mapped maps an arena, at a place that nobody else takes.
func mapped(t *testing.T, code []byte) *postfork.Arena {
	t.Helper()
	a, err := postfork.Map(program.Place(program.BaseTries/2), program.HeadSize, code)
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

func own(t *testing.T) []proc.Mapping {
	t.Helper()
	maps, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	return maps
}

// TestKeep holds what is kept for each wish: that and no more.
func TestKeep(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a := mapped(t, []byte{1})
	maps := own(t)
	at := map[string]uint64{
		"arena": a.Base, "private": a.Base - program.PrivateGap, "code": a.Base - program.CodeGap,
		"interpreter": postfork.CodeAddress(), "local": threadPointer(),
	}
	for _, m := range maps {
		switch {
		case m.Name == "[vdso]":
			at["vdso"] = m.Lo
		case strings.HasPrefix(m.Name, "[vvar"):
			at["vvar"] = m.Lo
		case m.Name == "[stack]":
			at["stack"] = m.Lo
		}
	}
	if at["vdso"] == 0 || at["vvar"] == 0 {
		t.Fatal("this process has no vdso") // a kernel that is booted with vdso=0
	}
	if kept, err := Keep(a, maps, Wanted{}); err != nil || covers(kept, at["local"]) {
		delete(at, "local") // of a thread without the C library it is in the program's data, if anywhere
	}
	always := []string{"arena", "private", "interpreter"}
	for _, c := range []struct {
		want Wanted
		keep []string
	}{
		{Wanted{}, nil},
		{Wanted{VDSO: true}, []string{"vdso", "vvar"}},
		{Wanted{Code: true}, []string{"code"}},
		{Wanted{VDSO: true, Code: true}, []string{"vdso", "vvar", "code"}},
		{Wanted{Local: true}, []string{"local"}},
	} {
		kept, err := Keep(a, maps, c.want)
		if err != nil {
			t.Fatal(err)
		}
		for name, addr := range at {
			if got, want := covers(kept, addr), slices.Contains(always, name) || slices.Contains(c.keep, name); got != want && addr != 0 {
				t.Errorf("%+v: the %s is kept: %v, want %v", c.want, name, got, want)
			}
		}
	}
}

func TestInTheWay(t *testing.T) {
	a := mapped(t, nil)
	maps := own(t)
	i := slices.IndexFunc(maps, func(m proc.Mapping) bool { return m.Name == "[stack]" })
	stack := maps[i].Lo &^ (program.BaseUnit - 1)
	for name, c := range map[string]struct {
		base uint64
		size int
		code bool
		want string
	}{
		"nothing":          {a.Base + program.BaseStep/2, program.PageSize, true, ""},
		"stack":            {stack, 2 * program.BaseUnit, false, "[stack] ("},
		"an arena":         {a.Base, program.PageSize, false, " (0x"},
		"on the private":   {a.Base - program.PrivateGap, program.PageSize, false, " (0x"},
		"private on arena": {a.Base + program.PrivateGap, program.PageSize, false, " (0x"},
		"beside the arena": {a.Base + program.CodeGap, program.PageSize, false, ""},
		"code on arena":    {a.Base + program.CodeGap, program.PageSize, true, " (0x"},
	} {
		if got := inTheWay(maps, c.base, c.size, c.code); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestThread holds what is asked of the thread: the same at each time, for the
// question must leave no trace.
func TestThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if first := hasRseq(); hasRseq() != first {
		t.Errorf("hasRseq says %v, then %v", first, !first)
	}
	p := threadPointer()
	if p == 0 && (hasRseq() || runtime.GOARCH == "amd64") {
		t.Error("no thread pointer")
	}
	if p != 0 && !slices.ContainsFunc(own(t), func(m proc.Mapping) bool { return m.Lo <= p && p < m.Hi && m.Writable }) {
		t.Errorf("thread pointer %#x is in no memory", p)
	}
}

// TestOnThread holds that there is always a thread of which all is known, unless the C
// library tells nothing.
func TestOnThread(t *testing.T) {
	t.Logf("on the main thread: %v", onMain.direct)
	if errors.Is(onMain.called, errElsewhere) || onMain.calls != 1 || onMain.called != nil && hasGlibc(t) {
		t.Errorf("on the thread that was chosen: %v, after %d calls", onMain.called, onMain.calls)
	}
	if pie := buildMode(t) == "pie"; pie && !linksC && hasGlibc(t) && !errors.Is(onMain.direct, errElsewhere) {
		t.Error("nothing was proven: the main thread's area is known")
	}
}

// buildMode gives what go build was told.
func buildMode(t *testing.T) string {
	t.Helper()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("no build information")
	}
	for _, s := range info.Settings {
		if s.Key == "-buildmode" {
			return s.Value
		}
	}
	return ""
}

// TestRseq holds on several threads that the kernel takes what was found for what is
// registered: it unregisters just that.
func TestRseq(t *testing.T) {
	const threads = 4
	found, glibc := make(chan program.Rseq, threads), hasGlibc(t)
	all := make(chan bool)
	defer close(all)
	for range threads {
		go func() { // its thread ends with it
			runtime.LockOSThread()
			found <- checkRseq(t, glibc)
			<-all // else the next one could have the memory of this one
		}()
	}
	seen := map[uint64]bool{}
	for range threads {
		if r := <-found; r != (program.Rseq{}) && seen[r.Area] {
			t.Errorf("two threads have the area %#x", r.Area)
		} else {
			seen[r.Area] = true
		}
	}
}

func checkRseq(t *testing.T, glibc bool) program.Rseq {
	has := hasRseq()
	r, err := Rseq()
	switch {
	case err != nil && !glibc, errors.Is(err, errElsewhere) && unix.Gettid() == os.Getpid() && !linksC:
		t.Logf("this C library tells nothing: %v", err)
		return r
	case err != nil:
		t.Error(err)
		return r
	case (r != program.Rseq{}) != has:
		t.Errorf("found %+v, and the thread has one: %v", r, has)
		return r
	case !has:
		return r
	}
	if _, ok := rseqAt(r.Area+rseqLeast, r.Size); ok {
		t.Error("the area beside it is taken for it, too")
	}
	if _, ok := rseqAt(r.Area, r.Size+rseqLeast); ok {
		t.Error("another size is taken for it, too")
	}
	call := func(flags uintptr) error {
		if _, _, e := unix.RawSyscall6(unix.SYS_RSEQ, uintptr(r.Area), uintptr(r.Size), flags, uintptr(r.Signature), 0, 0); e != 0 {
			return e
		}
		return nil
	}
	if err := call(1); err != nil { // RSEQ_FLAG_UNREGISTER
		t.Errorf("unregister %+v: %v", r, err)
		return r
	}
	if hasRseq() {
		t.Error("it is still registered")
	}
	if _, ok := rseqAt(r.Area, r.Size); ok || hasRseq() {
		t.Error("nothing is registered, and was found or left behind")
	}
	if err := call(0); err != nil {
		t.Errorf("register it again: %v", err)
	}
	return r
}

// hasGlibc reports whether the dynamic linker of this system is one that tells of its
// areas.
func hasGlibc(t *testing.T) bool {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, p.Filesz-1)
		if _, err := p.ReadAt(name, 0); err != nil {
			t.Fatal(err)
		}
		linker, err := elf.Open(string(name))
		if err != nil {
			t.Fatal(err)
		}
		defer linker.Close()
		symbols, _ := linker.DynamicSymbols()
		return slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "__rseq_offset" })
	}
	return false
}
