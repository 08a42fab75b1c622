package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"regrow/test/vm/job"
)

// trial is the result of one machine.
type trial struct {
	results *results
	verdict verdict
	again   int // number of repeated boots
}

// boots is how often a kernel is booted if it does not come up, or if the emulator breaks
// it. Any other failure after the guest's first line is final.
const boots = 3

// try boots one kernel with one setup. An error is one of the host.
func (b *batch) try(ctx context.Context, k kernel, s setup, sh share) (trial, error) {
	if ctx.Err() != nil {
		return trial{}, context.Cause(ctx)
	}
	dir, err := os.MkdirTemp(b.dir, "machine")
	if err != nil {
		return trial{}, err
	}
	m := machine{arch: b.arch, accel: b.accel, kernel: k.image, initramfs: s.initramfs, memory: s.memory, told: sh.commandLine(), dir: dir}
	runs, not := sh.runs(s.runs)
	r := b.resultsOf(k, s, runs)
	progress("boot %s%s", k.name, s.name)
	bootErr := m.boot(ctx, r.take)
	again := 0
	for again+1 < boots && bootErr != nil && (r.release == "" || m.miscompiled() && !b.failed(r)) && ctx.Err() == nil {
		again++
		progress("%s%s did not come up, or was emulated badly, boot %d of %d: %v\n%s", k.name, s.name, again+1, boots, bootErr, indent(m.tail()))
		_ = r.close() // its results so far are discarded: the next boot has them again
		r = b.resultsOf(k, s, runs)
		bootErr = m.boot(ctx, r.take)
	}
	if ctx.Err() != nil {
		return trial{}, context.Cause(ctx)
	}
	if err := r.close(); err != nil {
		return trial{}, err
	}
	v := b.judge(m, r, bootErr)
	v.skipped = append(v.skipped, not...)
	return trial{r, v, again}, nil
}

// failed reports whether a package that has ended failed.
func (b *batch) failed(r *results) bool {
	for _, run := range r.runs {
		if run.ended && len(run.verdict(b.skip[run.run.Name]).failed) > 0 {
			return true
		}
	}
	return false
}

// resultsOf waits for the results of a machine, and prints a line when a package ends.
func (b *batch) resultsOf(k kernel, s setup, runs []job.Run) *results {
	r := newResults(runs)
	r.ended = func(run *runResult) {
		v := run.verdict(b.skip[run.run.Name])
		mark := "ok  "
		if len(v.failed) > 0 {
			mark = "FAIL"
		}
		progress("%s %s  %s: %d passed, %d failed, %d skipped (%.0f s%s)",
			mark, k.name, run.run.Name, v.passed, len(v.failed), len(v.skipped), run.elapsed.Seconds(), run.slowest())
	}
	if b.verbose {
		r.line = func(text string) { fmt.Printf("%s%s: %s\n", k.name, s.name, text) }
	}
	return r
}

// judge summarizes the results of one machine.
func (b *batch) judge(m machine, r *results, bootErr error) (all verdict) {
	for _, run := range r.runs {
		all.add(run.verdict(b.skip[run.run.Name]))
	}
	if bootErr != nil {
		all.failed = append(all.failed, finding{"machine", bootErr.Error() + "\nthe console's last lines:\n" + m.tail()})
	}
	if lines := m.complaints(); len(lines) > 0 {
		all.failed = append(all.failed, finding{"kernel", strings.Join(lines, "\n")})
	}
	return all
}

func indent(text string) string {
	return "\t" + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t")
}
