package main

import (
	"fmt"
	"slices"
	"strings"

	"regrow/test/vm/job"
)

// pure are the packages whose tests do not depend on the version of the kernel. If kernels
// share the work, only the newest runs them.
var pure = []string{
	"images", "images/internal/syntax", "restore/internal/landing", "restore/internal/lookup", "restore/internal/model", "restore/internal/plan",
	"restore/internal/planner", "restore/internal/program", "restore/internal/show", "restore/internal/table", "tasktree", "tasktree/attr", "tasktree/kind", "tasktree/schema", "tasktree/shrink",
	"test/drawn", "test/house", "test/inflight", "test/rounds", "test/tally",
}

// share is the work of one of several kernels.
type share struct {
	part  string // K/N of the end-to-end tests, "" for all; see rounds.Part
	newer string // the kernel that runs the pure packages instead of this one, "" for none
}

// share returns the share of kernel i. The last kernel, usually the newest, runs everything.
// Only if there is one part of the end-to-end tests for each kernel, it runs a part of
// these: then all kernels together run all of them.
func (b *batch) share(kernels []kernel, i int) share {
	last := len(kernels) - 1
	sh := share{part: fmt.Sprintf("%d/%d", i%b.draw+1, b.draw)}
	switch {
	case b.draw < 2, i == last && b.draw != len(kernels):
		return share{}
	case i < last:
		sh.newer = kernels[last].name
	}
	return sh
}

// runs returns the runs of a setup that this kernel executes, and the names of the others.
func (sh share) runs(all []job.Run) (runs []job.Run, not []finding) {
	for _, r := range all {
		switch {
		case sh.newer != "" && slices.Contains(pure, r.Name):
			not = append(not, finding{r.Name + " (all of it)", "it depends on no kernel, and " + sh.newer + " runs it"})
		default:
			runs = append(runs, r)
			if sh.part != "" && r.Name == endToEnd {
				not = append(not, finding{r.Name, "a part of it, " + sh.part + ": the other tests are for the other kernels"})
			}
		}
	}
	return runs, not
}

// commandLine returns the share as parameters of the kernel, which passes unknown ones to
// the environment of its first process.
func (sh share) commandLine() string {
	if sh.part == "" {
		return ""
	}
	words := "REGROW_TEST_PART=" + sh.part
	if sh.newer != "" {
		words += fmt.Sprintf(" %s=%s", job.Without, strings.Join(pure, ","))
	}
	return words
}
