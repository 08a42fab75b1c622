package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed floor/floor.c
var floorC string

// build makes the two programs, both without a dynamic C library: a binary with one has
// more memory to copy for each fork, and takes longer to start. Then it copies both in the
// same way to the same folder: the layout of a file in the page cache depends on how and
// where it was written, and affects the cost of each page of a new process.
func (b *bench) build(ctx context.Context) error {
	made := filepath.Join(b.dir, "made")
	if _, _, err := b.command(ctx, buildTimeout, strings.NewReader(floorC),
		"gcc", "-O2", "-static", "-Wall", "-x", "c", "-o", made, "-"); err != nil {
		return fmt.Errorf("build the floor: %w", err)
	}
	b.floor = filepath.Join(b.dir, "floor")
	if err := copyProgram(b.floor, made); err != nil {
		return err
	}
	from := b.opt.regrow
	if from == "" {
		from = made
		if _, _, err := b.command(ctx, buildTimeout, nil,
			"env", "CGO_ENABLED=0", "go", "build", "-o", made, "regrow/cmd/regrow"); err != nil {
			return fmt.Errorf("build regrow (run this inside its module): %w", err)
		}
	}
	b.regrow = filepath.Join(b.dir, "regrow")
	return copyProgram(b.regrow, from)
}

// copyProgram copies a program with a single write.
func copyProgram(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o700)
}

// floorReport is the output of the floor.
type floorReport struct {
	ElapsedNS  int64 `json:"elapsed_ns"`
	PrivateKiB int64 `json:"private_kib"`
	CPUNS      int64 `json:"cpu_ns"`
}

func (b *bench) runFloor(ctx context.Context) (floorReport, error) {
	var rep floorReport
	out, _, err := b.command(ctx, runTimeout, nil, b.floor, b.opt.Shape,
		strconv.Itoa(b.opt.Tasks), strconv.Itoa(b.opt.FDs), strconv.Itoa(b.opt.Base))
	if err != nil {
		return rep, err
	}
	if err := json.Unmarshal(out, &rep); err != nil {
		return rep, fmt.Errorf("floor: %w: %q", err, out)
	}
	return rep, nil
}

// report is the part of the report of restore --json that is used here.
type report struct {
	Version int `json:"version"`
	Tasks   []struct {
		Name    string `json:"name"`
		HostPID int    `json:"host_pid"`
		FDs     []int  `json:"fds"`
	} `json:"tasks"`
	ElapsedNS int64 `json:"elapsed_ns"`
}

// runRegrow restores the tree, inspects it and ends it.
func (b *bench) runRegrow(ctx context.Context) (r round, err error) {
	args := []string{"restore", "-d", "--json", b.tree()}
	if b.opt.trace != "" {
		args = append(args, "--trace", filepath.Join(b.dir, "trace.json"))
	}
	return b.restore(ctx, append([]string{b.regrow}, args...)...)
}

// restore does the same with a command whose last words restore the tree.
func (b *bench) restore(ctx context.Context, command ...string) (r round, err error) {
	out, wall, err := b.command(ctx, runTimeout, nil, command[0], command[1:]...)
	// In any case no process of this round may be left: sweep ends processes that are
	// not in the report or that a failed restore has left, and the error says so.
	defer func() {
		n, sweepErr := sweep()
		err = errors.Join(err, sweepErr)
		if n > 0 {
			err = errors.Join(err, fmt.Errorf("regrow left %d processes behind, ended now", n))
		}
	}()
	if err != nil {
		return round{}, err
	}
	var rep report
	if err := json.Unmarshal(out, &rep); err != nil {
		return round{}, fmt.Errorf("report of restore --json: %w%s", err, indent(out))
	}
	pids := make([]int, len(rep.Tasks))
	for i, t := range rep.Tasks {
		pids[i] = t.HostPID
	}
	r = round{ReleaseNS: rep.ElapsedNS, WholeNS: wall.Nanoseconds(), RegrowCPUNS: b.cpu.Nanoseconds(), RegrowKiB: b.maxKiB}
	for _, pid := range pids {
		ns, cpuErr := readCPU(pid)
		err = errors.Join(err, cpuErr)
		r.TreeCPUNS += ns
	}
	if b.opt.trace != "" && (b.best == 0 || r.ReleaseNS < b.best) {
		b.best = r.ReleaseNS
		text, readErr := os.ReadFile(filepath.Join(b.dir, "trace.json"))
		err = errors.Join(err, readErr, os.WriteFile(b.opt.trace, text, 0o644))
	}
	var inspectErr error
	if r.PrivateKiB, inspectErr = b.inspect(&rep); inspectErr != nil {
		err = errors.Join(err, fmt.Errorf("report of restore --json: %w", inspectErr))
	}
	reaped, endErr := endTree(pids)
	r.TreeCPUNS += reaped
	return r, errors.Join(err, endErr)
}

// inspect compares the report with the options, so that a tree that is too small is not
// measured as a fast one, and returns the private memory of the task in the middle.
func (b *bench) inspect(rep *report) (privateKiB int64, err error) {
	if rep.Version != 1 {
		return 0, fmt.Errorf("version %d, want 1", rep.Version)
	}
	if want := b.opt.Tasks + 1; len(rep.Tasks) != want {
		return 0, fmt.Errorf("%d tasks, want %d: the root and its children", len(rep.Tasks), want)
	}
	if rep.ElapsedNS <= 0 {
		return 0, fmt.Errorf("elapsed_ns %d", rep.ElapsedNS)
	}
	for _, t := range rep.Tasks[1:] {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", t.HostPID))
		if err != nil {
			return 0, fmt.Errorf("task %q: %w", t.Name, err)
		}
		if len(fds) != b.opt.FDs || len(t.FDs) != b.opt.FDs {
			return 0, fmt.Errorf("task %q: %d descriptors, and %d in the report, want %d", t.Name, len(fds), len(t.FDs), b.opt.FDs)
		}
	}
	return readPrivate(rep.Tasks[1+b.opt.Tasks/2].HostPID)
}

// readPrivate returns the private memory of a process, in KiB.
func readPrivate(pid int) (int64, error) {
	path := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var sum, found int64
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || (f[0] != "Private_Clean:" && f[0] != "Private_Dirty:") {
			continue
		}
		kib, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += kib
		found++
	}
	if found != 2 {
		return 0, fmt.Errorf("%s: no Private_Clean and Private_Dirty", path)
	}
	return sum, nil
}
