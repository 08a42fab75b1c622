package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"regrow/test/record"
)

// event is a line of go test -json, see go doc test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// sum counts the results of tests and their subtests.
type sum struct {
	out                     io.Writer
	passed, failed, skipped int
	why                     map[string]int // number of skips by reason
	said                    map[record.Test]*strings.Builder
	record                  []record.Test // top-level tests that have passed
}

func newSum(out io.Writer) *sum {
	return &sum{out: out, why: map[string]int{}, said: map[record.Test]*strings.Builder{}}
}

func (s *sum) takeAll(events io.Reader) error {
	for dec := json.NewDecoder(events); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("go test -json: %w", err)
		}
		s.take(e)
	}
}

// take prints the output of packages at once, and the output of failed tests.
func (s *sum) take(e event) {
	if e.Test == "" {
		if e.Output != "" && e.Output != "PASS\n" {
			_, _ = fmt.Fprint(s.out, e.Output)
		}
		return
	}
	t := record.Test{Package: e.Package, Name: e.Test}
	said := s.said[t]
	if said == nil {
		said = &strings.Builder{}
		s.said[t] = said
	}
	switch e.Action {
	case "output":
		said.WriteString(e.Output)
		return
	case "pass":
		s.passed++
		if !strings.Contains(e.Test, "/") {
			s.record = append(s.record, t)
		}
	case "fail":
		s.failed++
		_, _ = fmt.Fprint(s.out, said.String())
	case "skip":
		s.skipped++
		s.why[reason(said.String())]++
	default: // run, pause, cont
		return
	}
	delete(s.said, t)
}

// reason extracts the reason of a skip from a test's output: t.Skip prints last.
func reason(output string) string {
	why := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		// file_test.go:12: the reason
		if place, text, ok := strings.Cut(line, ": "); ok && strings.Contains(place, "_test.go:") {
			line = text
		}
		why = line
	}
	return why
}

// print prints the sums. A test that began and did not end has failed; print also prints its
// output.
func (s *sum) print() {
	for t, said := range s.said {
		if strings.Contains(said.String(), "=== RUN") {
			s.failed++
			_, _ = fmt.Fprintf(s.out, "%s: %s began and did not end\n%s", t.Package, t.Name, said.String())
		}
	}
	_, _ = fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	reasons := make([]string, 0, len(s.why))
	for why := range s.why {
		reasons = append(reasons, why)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(s.why[b], s.why[a]), cmp.Compare(a, b)) })
	for _, why := range reasons {
		_, _ = fmt.Fprintf(s.out, "%6d skipped: %s\n", s.why[why], why)
	}
}
