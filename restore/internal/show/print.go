package show

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// WriteText writes the plan for people: for each task its ops, the purpose and the line of
// each, the descriptors that it changes, and the final table.
func WriteText(p *plan.Plan, w io.Writer) error {
	pic, err := NewPicture(p)
	if err != nil {
		return err
	}
	var text bytes.Buffer // writes to it cannot fail
	tw := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintf(tw, "%s: %s, ", pic.Source, words.Count(len(pic.Tasks), "task"))
	if pic.StoreFD >= 0 {
		_, _ = fmt.Fprintf(tw, "%s through the store in %s, the store at fd %d\n\n",
			words.Count(p.OpenFiles(), "open file"), words.Count(len(pic.Messages), "message"), pic.StoreFD)
	} else {
		_, _ = fmt.Fprintln(tw, "no open file through the store")
	}
	for _, r := range pic.Replaced {
		_, _ = fmt.Fprintln(tw, r)
	}
	for id, m := range pic.Messages {
		_, _ = fmt.Fprintf(tw, "message %d: %s\n", id, strings.Join(m, " "))
	}
	writeSteps(tw, "regrow, before the first clone", "", pic.Prepare)
	for i, steps := range pic.Benches {
		writeSteps(tw, fmt.Sprintf("bench %d, a process of regrow's with a table of its own", i), "", steps)
	}
	for _, t := range pic.Tasks {
		title := fmt.Sprintf("task %q at %s", t.Name, tasktree.At(pic.Source, tasktree.Pos{Line: t.Line}))
		if t.Parent != "" {
			title += fmt.Sprintf(", child of %q", t.Parent)
		}
		writeSteps(tw, title, "changes to the table", t.Steps)
		table := tableText(t.Table, 32)
		if table == "" {
			table = "no descriptors"
		}
		_, _ = fmt.Fprintf(tw, "  at release: %s\n", table)
	}
	writeSteps(tw, "regrow, when every task is ready", "", pic.Commit)
	_, _ = fmt.Fprintln(tw, "\n[store] the store, [helper] a helper, closed later, (x) opened with O_PATH, x* close-on-exec, #N a descriptor of regrow, - closed")
	if err := tw.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func writeSteps(w io.Writer, title, last string, steps []StepOfPlan) {
	if len(steps) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "\n%s\n  line\tstep\tfor\t%s\n", title, last)
	for _, s := range steps {
		line := "-"
		if s.Line > 0 {
			line = strconv.Itoa(s.Line)
		}
		call := s.Call
		if s.Want != nil {
			call += fmt.Sprintf(" = %d", *s.Want)
		}
		_, _ = fmt.Fprintf(w, "  %4s\t%s\t%s\t%s\n", line, call, s.For, tableText(s.Table, 8))
	}
}

// tableText writes descriptors, at most that many.
func tableText(table map[int]*CellOfPlan, most int) string {
	parts := make([]string, 0, min(len(table), most)+1)
	for i, n := range slices.Sorted(maps.Keys(table)) {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(table)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%d:%s", n, table[n]))
	}
	return strings.Join(parts, " ")
}
