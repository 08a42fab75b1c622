package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// round has the figures of one round. Times are nanoseconds.
type round struct {
	FloorNS    int64 `json:"floor_ns"`
	ReleaseNS  int64 `json:"release_ns"`
	WholeNS    int64 `json:"whole_ns"`
	FloorKiB   int64 `json:"floor_private_kib"`
	PrivateKiB int64 `json:"private_kib"`

	FloorCPUNS  int64 `json:"floor_cpu_ns"`
	TreeCPUNS   int64 `json:"tree_cpu_ns"`   // root, tasks, and processes that these have reaped
	RegrowCPUNS int64 `json:"regrow_cpu_ns"` // the command itself
	RegrowKiB   int64 `json:"regrow_kib"`    // its largest resident size
}

// result is the output of a run.
type result struct {
	Version int     `json:"version"`
	Options options `json:"options"`
	Kernel  string  `json:"kernel"`
	CPUs    int     `json:"cpus"`
	Rounds  []round `json:"rounds"`
	Median  round   `json:"median"` // separately for each column

	// Medians of the ratios of each round: load that slows a whole round down slows
	// both programs down, and does not change the ratio.
	ReleaseToFloor float64 `json:"release_to_floor"`
	WholeToFloor   float64 `json:"whole_to_floor"`
	CPUToFloor     float64 `json:"cpu_to_floor"` // of the tree

	// Ratios of the shortest times of all rounds: of both programs on a quiet machine.
	BestReleaseToFloor float64 `json:"best_release_to_floor"`
	BestWholeToFloor   float64 `json:"best_whole_to_floor"`
}

func summarize(opt options, rounds []round) result {
	res := result{Version: 1, Options: opt, Kernel: kernel(), CPUs: runtime.NumCPU(), Rounds: rounds}
	for _, column := range []func(*round) *int64{
		func(r *round) *int64 { return &r.FloorNS }, func(r *round) *int64 { return &r.ReleaseNS }, func(r *round) *int64 { return &r.WholeNS },
		func(r *round) *int64 { return &r.FloorKiB }, func(r *round) *int64 { return &r.PrivateKiB },
		func(r *round) *int64 { return &r.FloorCPUNS }, func(r *round) *int64 { return &r.TreeCPUNS },
		func(r *round) *int64 { return &r.RegrowCPUNS }, func(r *round) *int64 { return &r.RegrowKiB },
	} {
		*column(&res.Median) = medianOf(rounds, func(r round) int64 { return *column(&r) })
	}
	best := func(column func(round) int64) float64 {
		least := column(rounds[0])
		for _, r := range rounds {
			least = min(least, column(r))
		}
		return float64(least)
	}
	floor := best(func(r round) int64 { return r.FloorNS })
	res.BestReleaseToFloor = best(func(r round) int64 { return r.ReleaseNS }) / floor
	res.BestWholeToFloor = best(func(r round) int64 { return r.WholeNS }) / floor
	res.CPUToFloor = medianOf(rounds, func(r round) float64 { return float64(r.TreeCPUNS) / float64(max(r.FloorCPUNS, 1)) })
	res.ReleaseToFloor = medianOf(rounds, round.releaseToFloor)
	res.WholeToFloor = medianOf(rounds, round.wholeToFloor)
	return res
}

func (r round) releaseToFloor() float64 { return float64(r.ReleaseNS) / float64(r.FloorNS) }

func (r round) wholeToFloor() float64 { return float64(r.WholeNS) / float64(r.FloorNS) }

// medianOf returns the median of one column, the upper one of an even number.
func medianOf[T int64 | float64](rounds []round, column func(round) T) T {
	v := make([]T, len(rounds))
	for i, r := range rounds {
		v[i] = column(r)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
}

func (res *result) writeJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(res)
}

func (res *result) writeTable(out io.Writer) error {
	opt, w := res.Options, &strings.Builder{}
	files := fmt.Sprintf("%d shared open files", opt.Files)
	if opt.Shape == "private" {
		files = "each an open file of its own"
	}
	fmt.Fprintf(w, "%s: %d tasks, %d descriptors each, %s; Linux %s, %d CPUs\n\n",
		opt.Shape, opt.Tasks, opt.FDs, files, res.Kernel, res.CPUs)
	const row = "%6s  %9.2f  %10.2f  %8.2f  %13.2f  %11.2f  %9d  %10d\n"
	fmt.Fprintln(w, " round   floor ms  release ms  whole ms  release/floor  whole/floor  floor KiB  regrow KiB")
	ms := func(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
	line := func(name string, r round, release, whole float64) {
		fmt.Fprintf(w, row, name, ms(r.FloorNS), ms(r.ReleaseNS), ms(r.WholeNS), release, whole, r.FloorKiB, r.PrivateKiB)
	}
	for i, r := range res.Rounds {
		line(strconv.Itoa(i+1), r, r.releaseToFloor(), r.wholeToFloor())
	}
	line("median", res.Median, res.ReleaseToFloor, res.WholeToFloor)
	perTask := func(ns int64) float64 { return float64(ns) / float64(opt.Tasks) / float64(time.Microsecond) }
	fmt.Fprintf(w, "\na task: floor %.1f µs, release %.1f µs; of the best rounds: release/floor %.2f, whole/floor %.2f\n",
		perTask(res.Median.FloorNS), perTask(res.Median.ReleaseNS), res.BestReleaseToFloor, res.BestWholeToFloor)
	fmt.Fprintf(w, "processor time a task: floor %.1f µs, tree %.1f µs, ratio %.2f; regrow itself %.0f ms, %d MiB\n",
		perTask(res.Median.FloorCPUNS), perTask(res.Median.TreeCPUNS), res.CPUToFloor, ms(res.Median.RegrowCPUNS), res.Median.RegrowKiB>>10)
	fmt.Fprintf(w, "private memory of a task: floor %d KiB, regrow %d KiB\n", res.Median.FloorKiB, res.Median.PrivateKiB)
	_, err := io.WriteString(out, w.String())
	return err
}
