package runner

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/host"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// memoryMap is the map of a process as the kernel lists it: by first address the last
// one, what may be done there, and the name.
func memoryMap(t *testing.T, pid int) map[uint64]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	maps := map[uint64]string{}
	for line := range strings.Lines(string(text)) {
		var lo, hi uint64
		var can string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &lo, &hi, &can); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		fields := strings.Fields(line)
		maps[lo] = fmt.Sprintf("%x %s %s", hi, can, strings.Join(fields[5:], " "))
	}
	return maps
}

// named reports whether a map has memory of a name.
func named(maps map[uint64]string, name string) bool {
	for _, m := range maps {
		if strings.HasSuffix(m, " "+name) {
			return true
		}
	}
	return false
}

func memoryPlan(t *testing.T, m plan.Memory) *plan.Plan {
	t.Helper()
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	p, err := planner.New(plantest.Small(t), here, plan.Options{Memory: m})
	if err == nil {
		err = model.Verify(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pageOf gives the range of pages that so many bytes need, as maps have it.
func pageOf(size int) uint64 {
	page := os.Getpagesize()
	return uint64((size + page - 1) &^ (page - 1))
}

// TestMemory restores trees with all that a plan can say of memory, and reads from the
// kernel's maps what tasks have, both when all are ready and when they hold.
func TestMemory(t *testing.T) {
	const base = 0x5_5550_0000
	code := []byte("this is no code, and nothing runs it")
	for name, m := range map[string]plan.Memory{
		"default":    {},
		"base":       {Base: base},
		"vdso":       {VDSO: true},
		"code":       {Code: code},
		"everything": {Base: base, VDSO: true, Code: code},
		"second":     {Place: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := memoryPlan(t, m)
			if m.Base != 0 && p.Arena.Base != m.Base {
				t.Fatalf("the arena is planned at %#x", p.Arena.Base)
			}
			check := func(pid int, at uint64, arena bool) {
				t.Helper()
				maps := memoryMap(t, pid)
				if got, want := maps[at], fmt.Sprintf("%x rw-s", at+pageOf(p.ArenaSize())); strings.HasPrefix(got, want) != arena {
					t.Errorf("pid %d: the arena at %#x is %q, want it: %v", pid, at, got, arena)
				}
				if got := maps[at-program.PrivateGap]; !strings.Contains(got, " rw-p ") {
					t.Errorf("pid %d: the private page is %q", pid, got)
				}
				got, want := maps[at-program.CodeGap], fmt.Sprintf("%x r-xp ", at-program.CodeGap+pageOf(program.CodeSize))
				if len(m.Code) > 0 && got != want || len(m.Code) == 0 && got != "" {
					t.Errorf("pid %d: the page of code is %q", pid, got)
				}
				if len(m.Code) > 0 {
					mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
					if err != nil {
						t.Fatal(err)
					}
					defer mem.Close()
					text := make([]byte, program.CodeSize)
					if _, err := mem.ReadAt(text, int64(at-program.CodeGap)); err != nil || !bytes.Equal(text[:len(code)+1], append(slices.Clone(code), 0)) {
						t.Errorf("pid %d: the code is %q, %v", pid, text[:len(code)+1], err)
					}
				}
				if named(maps, "[vdso]") != m.VDSO || named(maps, "[vvar]") != m.VDSO {
					t.Errorf("pid %d: want the vdso and its data: %v, in %v", pid, m.VDSO, maps)
				}
				if named(maps, "[heap]") || len(maps) > 20 {
					t.Errorf("pid %d: keeps more than it should: %v", pid, maps)
				}
			}
			looked := 0
			ready := func(v plan.View) error {
				for _, pid := range v.PIDs {
					check(pid, p.Arena.Base, true)
					looked++
				}
				return nil
			}
			if _, err := startNow(t.Context(), p, Options{Timeout: patience, Ready: ready}); err != nil || looked != len(p.Tasks) {
				t.Fatalf("looked at %d tasks: %v", looked, err)
			}
			tree, err := startNow(t.Context(), p, Options{Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Abort()
			at := tree.plan.Arena.Base
			if at != p.Arena.Base {
				t.Errorf("restored at %#x, planned was %#x", at, p.Arena.Base)
			}
			for _, task := range tree.Report().Tasks {
				for deadline := time.Now().Add(patience); memoryMap(t, task.HostPID)[at] != "" && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond) // it has been counted as held, and then unmaps the arena
				}
				check(task.HostPID, at, false)
			}
		})
	}
}

// TestBaseTaken holds that a plan with a place of its own goes nowhere else, and says
// what is there; others find another place.
func TestBaseTaken(t *testing.T) {
	const base = 0x7_7770_0000
	for name, c := range map[string]struct {
		taken uint64
		code  []byte
		want  string
	}{
		"arena":   {base, nil, fmt.Sprintf("(%#x to ", base-program.PrivateGap)}, // what is there has a private page, too
		"private": {base - program.PrivateGap, nil, fmt.Sprintf("(%#x to %#x)", base-program.PrivateGap, base-program.PrivateGap+program.HeadSize)},
		"code":    {base + program.CodeGap, []byte{1}, fmt.Sprintf("(%#x to ", base+program.CodeGap-program.PrivateGap)},
	} {
		t.Run(name, func(t *testing.T) {
			other, err := postfork.Map(c.taken, program.HeadSize, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := other.Unmap(); err != nil {
					t.Error(err)
				}
			}()
			_, err = startNow(t.Context(), memoryPlan(t, plan.Memory{Base: base, Code: c.code}), Options{Timeout: patience})
			lacks, ok := errors.AsType[*plan.HostError](err)
			if !ok || !errors.Is(err, unix.EEXIST) || len(lacks.Lacks) != 1 {
				t.Fatalf("got %v", err)
			}
			for _, want := range []string{"small.yaml", fmt.Sprintf("must lie at %#x to ", base), c.want, "plan another base"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %v", want, err)
				}
			}
		})
	}
	t.Run("any place", func(t *testing.T) {
		other, err := postfork.Map(program.Place(7), program.HeadSize, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := other.Unmap(); err != nil {
				t.Error(err)
			}
		}()
		tree, err := startNow(t.Context(), memoryPlan(t, plan.Memory{Place: 7}), Options{Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Abort()
		if at := tree.plan.Arena.Base; at != program.Place(8) {
			t.Errorf("the plan was carried out at %#x, want the next place, %#x", at, program.Place(8))
		}
	})
}
