package memory

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// Mapping is a line of /proc/self/maps.
type Mapping struct {
	program.Range
	name     string
	writable bool
}

// Keep finds the memory that a task needs, ascending: the program's code and
// constants (and in instrumented builds its data, where they count), the arena,
// the private page, and the thread's local memory if the kernel writes to it. All
// else, the Go heap above all, the root task sheds: each page that is left costs
// every fork that follows. So does the vdso's data, which fork copies page tables
// of three levels for (decision 7); no task calls the vdso, and a program gets one
// of its own.
func Keep(a *postfork.Arena, maps []Mapping) ([]program.Range, error) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("restore: %w (is /proc mounted?)", err)
	}
	var local uint64
	if postfork.HasRseq() {
		local = postfork.ThreadPointer()
	}
	private := a.Base - program.PrivateGap
	var kept []program.Range
	last, inExe, data := program.Range{}, false, instrumented()
	for _, m := range maps {
		switch {
		case m.name == "[vsyscall]":
			continue // above what a process may unmap
		case m.name == exe, inExe && m.name == "" && m.Lo == last.Hi: // bss follows data
			inExe = true
			if data || !m.writable {
				kept = append(kept, m.Range)
			}
		case m.Lo <= private && private < m.Hi, m.Lo <= a.Base && a.Base < m.Hi,
			m.Lo <= local && local < m.Hi:
			inExe = false
			kept = append(kept, m.Range)
		default:
			inExe = false
		}
		last = m.Range
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

// Heap finds the Go heap: the writable memory in the run of anonymous mappings
// around an address in it. The runtime reserves such a run for the heap alone, so
// nothing of a C library's, which may have views of its own on what is forked, is
// among it.
func Heap(maps []Mapping, addr uint64) []program.Range {
	at := slices.IndexFunc(maps, func(m Mapping) bool { return m.Lo <= addr && addr < m.Hi })
	if at < 0 {
		return nil
	}
	first, last := at, at
	for first > 0 && maps[first-1].name == "" && maps[first-1].Hi == maps[first].Lo {
		first--
	}
	for last < len(maps)-1 && maps[last+1].name == "" && maps[last].Hi == maps[last+1].Lo {
		last++
	}
	var found []program.Range
	for _, m := range maps[first : last+1] {
		if m.writable {
			found = append(found, m.Range)
		}
	}
	return found
}

// Own reads the memory of this process.
func Own() ([]Mapping, error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("restore: %w (is /proc mounted?)", err)
	}
	return parseMaps(string(text))
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

// parseMaps reads the form of proc_pid_maps(5).
func parseMaps(text string) ([]Mapping, error) {
	var maps []Mapping
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return nil, fmt.Errorf("restore: /proc/self/maps: odd line %q", line)
		}
		lo, hi, _ := strings.Cut(fields[0], "-")
		var m Mapping
		var err1, err2 error
		m.Lo, err1 = strconv.ParseUint(lo, 16, 64)
		m.Hi, err2 = strconv.ParseUint(hi, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("restore: /proc/self/maps: %w", err)
		}
		m.writable = strings.Contains(fields[1], "w")
		if len(fields) > 5 {
			// The name is the rest of the line, spaces and all.
			m.name = strings.TrimSuffix(line[strings.LastIndex(line, " "+fields[4]+" ")+len(fields[4])+2:], "\n")
			m.name = strings.TrimLeft(m.name, " ")
		}
		maps = append(maps, m)
	}
	return maps, nil
}

// Map fills in struct prctl_mm_map with this process's own values; a task
// changes only where its arguments are. See proc_pid_stat(5).
func Map(private uint64) ([13]uint64, error) {
	var mm [13]uint64
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return mm, fmt.Errorf("restore: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat[max(0, strings.LastIndexByte(string(stat), ')')):]), " ")
	fields := strings.Fields(rest) // from field 3 on
	// start_code, end_code, start_data, end_data, start_brk, brk: the number
	// of the field in the manual, counted from 1. brk is not told there.
	for i, field := range []int{26, 27, 45, 46, 47, 47} {
		if field-3 >= len(fields) {
			return mm, fmt.Errorf("restore: /proc/self/stat has only %d fields", len(fields)+2)
		}
		if mm[i], err = strconv.ParseUint(fields[field-3], 10, 64); err != nil {
			return mm, fmt.Errorf("restore: /proc/self/stat: %w", err)
		}
	}
	const startStack, noExe = 6, 1<<32 - 1
	mm[startStack] = private + program.PrivateSize - 8
	mm[12] = noExe << 32 // auxv_size 0, exe_fd -1
	return mm, nil
}
