package memory

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"regrow/internal/proc"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// Wanted says what tasks keep beside what all need. The zero value is nothing.
type Wanted struct {
	VDSO  bool // the vdso and its data (vvar)
	Code  bool // the arena's page of code
	Local bool // the local memory of the calling thread, to which the kernel writes, see [Rseq]
}

// Keep finds the memory that a task needs, ascending: the program's code and constants (and
// in instrumented builds its data, which has the counters), the arena, the private page,
// and what is wanted. All else, the Go heap above all, the root task sheds: each page that
// is left costs every fork that follows. So does the vdso's data, which fork copies page
// tables of three levels for (decision 7); no task calls the vdso, and a program gets one
// of its own.
func Keep(a *postfork.Arena, maps []proc.Mapping, want Wanted) ([]program.Range, error) {
	exe, err := proc.Executable()
	if err != nil {
		return nil, fmt.Errorf("restore: %w (is /proc mounted?)", err)
	}
	parts := []uint64{a.Base, a.Base - program.PrivateGap}
	if want.Code {
		parts = append(parts, a.Base-program.CodeGap)
	}
	if want.Local {
		parts = append(parts, threadPointer())
	}
	var kept []program.Range
	last, inExe, data := program.Range{}, false, instrumented()
	for _, m := range maps {
		switch {
		case m.Name == "[vsyscall]":
			continue // above what a process may unmap
		case m.Name == exe, inExe && m.Name == "" && m.Lo == last.Hi: // bss follows data
			inExe = true
			if data || !m.Writable {
				kept = append(kept, program.Range{Lo: m.Lo, Hi: m.Hi})
			}
		case want.VDSO && (m.Name == "[vdso]" || strings.HasPrefix(m.Name, "[vvar")), // [vvar_vclock] since Linux 6.13
			slices.ContainsFunc(parts, func(at uint64) bool { return m.Lo <= at && at < m.Hi }):
			inExe = false
			kept = append(kept, program.Range{Lo: m.Lo, Hi: m.Hi})
		default:
			inExe = false
		}
		last = program.Range{Lo: m.Lo, Hi: m.Hi}
	}
	if kept = merge(kept); !covers(kept, postfork.CodeAddress()) {
		return nil, fmt.Errorf("restore: /proc/self/maps does not show where %s is mapped", exe)
	}
	// The end of the last mapping closes the last gap.
	kept = append(kept, program.Range{Lo: last.Hi, Hi: last.Hi})
	if len(kept) > program.MaxKeep {
		return nil, fmt.Errorf("restore: bug: %d ranges of memory to keep", len(kept))
	}
	return kept, nil
}

// InTheWay says that an arena cannot lie where it must, with or without a page of code,
// and what this process has there.
func InTheWay(base uint64, size int, code bool) string {
	what := "other memory"
	if maps, err := Own(); err == nil {
		what = inTheWay(maps, base, size, code)
	}
	return fmt.Sprintf("the plan must lie at %#x to %#x, with pages down to %#x, and this process has %s there",
		base, base+uint64(size), base-program.PrivateGap, what)
}

// inTheWay names what lies where an arena must, "" if nothing does.
func inTheWay(maps []proc.Mapping, base uint64, size int, code bool) string {
	parts := []program.Range{{Lo: base - program.PrivateGap, Hi: base - program.PrivateGap + program.PrivateSize}, {Lo: base, Hi: base + uint64(size)}}
	if code {
		parts = append(parts, program.Range{Lo: base - program.CodeGap, Hi: base - program.CodeGap + program.CodeSize})
	}
	for _, m := range maps {
		if slices.ContainsFunc(parts, func(p program.Range) bool { return m.Lo < p.Hi && p.Lo < m.Hi }) {
			name := m.Name
			if name == "" {
				name = "anonymous memory"
			}
			return fmt.Sprintf("%s (%#x to %#x)", name, m.Lo, m.Hi)
		}
	}
	return ""
}

// Heap finds the Go heap: the writable memory in the run of anonymous mappings
// around an address in it. The runtime reserves such a run for the heap alone, so
// nothing of a C library's, which may have views of its own on what is forked, is
// among it.
func Heap(maps []proc.Mapping, addr uint64) []program.Range {
	at := slices.IndexFunc(maps, func(m proc.Mapping) bool { return m.Lo <= addr && addr < m.Hi })
	if at < 0 {
		return nil
	}
	first, last := at, at
	for first > 0 && maps[first-1].Name == "" && maps[first-1].Hi == maps[first].Lo {
		first--
	}
	for last < len(maps)-1 && maps[last+1].Name == "" && maps[last].Hi == maps[last+1].Lo {
		last++
	}
	var found []program.Range
	for _, m := range maps[first : last+1] {
		if m.Writable {
			found = append(found, program.Range{Lo: m.Lo, Hi: m.Hi})
		}
	}
	return found
}

// Own reads the memory of this process.
func Own() ([]proc.Mapping, error) {
	maps, err := proc.Maps()
	if err != nil {
		return nil, fmt.Errorf("restore: %w (is /proc mounted?)", err)
	}
	return maps, nil
}

// covers reports whether one of the ranges has the address.
func covers(ranges []program.Range, addr uint64) bool {
	return slices.ContainsFunc(ranges, func(r program.Range) bool { return r.Lo <= addr && addr < r.Hi })
}

// instrumented reports whether code of this build may write to its own data
// everywhere: coverage counters, sanitizers. It says so for test binaries too,
// and where the build did not leave word.
func instrumented() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok || strings.HasSuffix(info.Path, ".test") {
		return true
	}
	return slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return slices.Contains([]string{"-cover", "-race", "-msan", "-asan"}, s.Key)
	})
}

// merge joins ranges that touch.
func merge(ranges []program.Range) []program.Range {
	var merged []program.Range
	for _, r := range ranges {
		if n := len(merged); n > 0 && merged[n-1].Hi == r.Lo {
			merged[n-1].Hi = r.Hi
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Map fills in struct prctl_mm_map with this process's own values; a task
// changes only where its arguments are. See prctl(2), PR_SET_MM_MAP.
func Map(private uint64) ([13]uint64, error) {
	var mm [13]uint64
	s, err := proc.OwnSegments()
	if err != nil {
		return mm, fmt.Errorf("restore: %w", err)
	}
	copy(mm[:], []uint64{s.StartCode, s.EndCode, s.StartData, s.EndData, s.StartBrk, s.StartBrk}) // brk is not told
	const startStack, noExe = 6, 1<<32 - 1
	mm[startStack] = private + program.PrivateSize - 8
	mm[12] = noExe << 32 // auxv_size 0, exe_fd -1
	return mm, nil
}
