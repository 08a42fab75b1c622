package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"regrow/restore"
)

// strategyResult has the figures of one strategy: medians of the rounds, in which the
// strategies take turns, and counts of an additional run under perf.
type strategyResult struct {
	Strategy  string  `json:"strategy"`
	ReleaseNS int64   `json:"release_ns"`
	WholeNS   int64   `json:"whole_ns"`
	Release   float64 `json:"release_to_first"` // median of the ratios to the first strategy of each round
	Whole     float64 `json:"whole_to_first"`
	Calls     float64 `json:"calls_per_descriptor"`    // system calls of all processes, -1: not counted
	Switches  float64 `json:"switches_per_descriptor"` // context switches, -1: not counted
}

// strategies compares the strategies of restore.
func (b *bench) strategies(ctx context.Context, out io.Writer) error {
	all := restore.Strategies()
	rounds := make([][]round, len(all))
	for i := range b.opt.Rounds {
		for j, s := range all {
			r, err := b.restore(ctx, b.regrow, "restore", "-d", "--json", "--strategy", s.String(), b.tree())
			if err != nil {
				return fmt.Errorf("round %d of %d, %s: %w", i+1, b.opt.Rounds, s, err)
			}
			rounds[j] = append(rounds[j], r)
		}
	}
	var results []strategyResult
	for j, s := range all {
		res := strategyResult{
			Strategy:  s.String(),
			ReleaseNS: medianOf(rounds[j], func(r round) int64 { return r.ReleaseNS }),
			WholeNS:   medianOf(rounds[j], func(r round) int64 { return r.WholeNS }),
		}
		for i := range rounds[j] { // ratios are relative to the first strategy
			rounds[j][i].FloorNS = rounds[0][i].ReleaseNS
		}
		res.Release = medianOf(rounds[j], round.releaseToFloor)
		for i := range rounds[j] {
			rounds[j][i].FloorNS = rounds[0][i].WholeNS
		}
		res.Whole = medianOf(rounds[j], round.wholeToFloor)
		calls, switches, err := b.count(ctx, s)
		if err != nil {
			return err
		}
		n := float64(b.opt.Tasks * b.opt.FDs)
		res.Calls, res.Switches = calls/n, switches/n
		results = append(results, res)
	}
	if b.opt.json {
		return json.NewEncoder(out).Encode(results)
	}
	return b.writeStrategies(out, results)
}

// count restores once more under perf-stat(1), which also counts for forked processes. If
// perf is missing or not permitted, nothing is counted.
func (b *bench) count(ctx context.Context, s restore.Strategy) (calls, switches float64, err error) {
	n := float64(b.opt.Tasks * b.opt.FDs)
	path := filepath.Join(b.dir, "perf")
	if _, _, err := b.command(ctx, runTimeout, nil, "perf", "stat", "-e", "raw_syscalls:sys_enter", "true"); err != nil {
		return -n, -n, nil //nolint:nilerr // -1 means not counted
	}
	// perf does not always wait for a command that ends at once; then it becomes a child
	// of this process.
	if _, err := sweep(); err != nil {
		return 0, 0, err
	}
	_, err = b.restore(ctx, "perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-e", "context-switches", "-o", path,
		b.regrow, "restore", "-d", "--json", "--strategy", s.String(), b.tree())
	if err != nil {
		return 0, 0, fmt.Errorf("%s, counted by perf: %w", s, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	counts := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(line, ","); len(f) > 2 {
			if v, err := strconv.ParseFloat(f[0], 64); err == nil {
				counts[f[2]] = v
			}
		}
	}
	if len(counts) != 2 {
		return 0, 0, fmt.Errorf("perf says %q", text)
	}
	return counts["raw_syscalls:sys_enter"], counts["context-switches"], nil
}

func (b *bench) writeStrategies(out io.Writer, results []strategyResult) error {
	w := &strings.Builder{}
	fmt.Fprintf(w, "%d tasks, %d descriptors each, %d shared open files; Linux %s, medians of %d rounds\n\n",
		b.opt.Tasks, b.opt.FDs, b.opt.Files, kernel(), b.opt.Rounds)
	fmt.Fprintf(w, "%-9s  release ms  whole ms  release/%s  whole/%s  calls/descriptor  switches/descriptor\n", "strategy", results[0].Strategy, results[0].Strategy)
	ms := func(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
	for _, r := range results {
		fmt.Fprintf(w, "%-9s  %10.2f  %8.2f  %15.2f  %13.2f  %16.2f  %19.3f\n", r.Strategy, ms(r.ReleaseNS), ms(r.WholeNS), r.Release, r.Whole, r.Calls, r.Switches)
	}
	_, err := io.WriteString(out, w.String())
	return err
}
