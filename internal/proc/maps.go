package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Mapping is a run of memory, a line of proc_pid_maps(5).
type Mapping struct {
	Lo, Hi   uint64 // addresses: Lo is its first byte, Hi the first one behind it
	Writable bool
	Name     string // a path, "[stack]" and its like, "" for anonymous memory
}

// Maps reads the memory of the calling process, ascending.
func Maps() ([]Mapping, error) {
	path := folder(Caller) + "/maps"
	text, err := read(path, make([]byte, 0, 16<<10))
	if err != nil {
		return nil, err
	}
	maps, err := parseMaps(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return maps, nil
}

// parseMaps reads the form of proc_pid_maps(5).
func parseMaps(text string) ([]Mapping, error) {
	var maps []Mapping
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return nil, fmt.Errorf("odd line %q", line)
		}
		lo, hi, _ := strings.Cut(fields[0], "-")
		var m Mapping
		var err1, err2 error
		m.Lo, err1 = strconv.ParseUint(lo, 16, 64)
		m.Hi, err2 = strconv.ParseUint(hi, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		m.Writable = strings.Contains(fields[1], "w")
		if len(fields) > 5 {
			// The name is the rest of the line, spaces and all.
			m.Name = strings.TrimSuffix(line[strings.LastIndex(line, " "+fields[4]+" ")+len(fields[4])+2:], "\n")
			m.Name = strings.TrimLeft(m.Name, " ")
		}
		maps = append(maps, m)
	}
	return maps, nil
}

// ReadMemory fills b with the calling process's memory at an address. Memory that is not
// mapped is an error, see proc_pid_mem(5).
func ReadMemory(b []byte, addr uint64) error {
	path := folder(Caller) + "/mem"
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(b, int64(addr)); err != nil {
		return fmt.Errorf("%s at %#x: %w", path, addr, err)
	}
	return nil
}

// Executable returns the path of the calling process's program, as [Mapping].Name has it.
func Executable() (string, error) { return os.Readlink(Exe) }

// Segments are where the kernel keeps that parts of a process's memory are, as addresses:
// those fields of proc_pid_stat(5) that prctl(PR_SET_MM) sets. Since Linux 3.5.
type Segments struct {
	StartCode, EndCode uint64
	StartData, EndData uint64
	StartBrk           uint64
}

// OwnSegments reads those of the calling process.
func OwnSegments() (s Segments, err error) {
	var room [1024]byte
	path := folder(Caller) + "/stat"
	text, err := read(path, room[:0])
	if err != nil {
		return s, err
	}
	_, rest, _ := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(" "))
	fields := bytes.Fields(rest) // from field 3 on
	for _, f := range []struct {
		to     *uint64
		number int // in the manual, counted from 1
	}{{&s.StartCode, 26}, {&s.EndCode, 27}, {&s.StartData, 45}, {&s.EndData, 46}, {&s.StartBrk, 47}} {
		if f.number-3 >= len(fields) {
			return s, fmt.Errorf("%s has only %d fields", path, len(fields)+2)
		}
		if *f.to, err = strconv.ParseUint(string(fields[f.number-3]), 10, 64); err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
		}
	}
	return s, nil
}

// SetName sets the name of the calling process's main thread, [Status].Name, of which
// the kernel keeps 15 bytes: see proc_pid_comm(5).
func SetName(name string) error {
	path := folder(Caller) + "/comm"
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(name)
	return errors.Join(err, f.Close())
}
