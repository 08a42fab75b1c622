package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"regrow/test/record"
	"regrow/test/vm/job"
)

// outcome is the result of a test, in the words of test2json.
type outcome string

const (
	passed  outcome = "pass"
	failed  outcome = "fail"
	skipped outcome = "skip"
	running outcome = "run" // lost, if nothing follows
)

// testResult is the state of a test or a subtest.
type testResult struct {
	outcome outcome
	output  strings.Builder
	attrs   map[string]string
	seconds float64
}

// runResult is the state of a job's run.
type runResult struct {
	run     job.Run
	listed  []string // top-level tests that the run must have ended
	tests   map[string]*testResult
	order   []string // of tests
	output  strings.Builder
	left    []string
	status  int
	ended   bool
	elapsed time.Duration
}

// results collects the messages of one machine.
type results struct {
	release string
	runs    []*runResult
	current *runResult
	began   time.Time
	decoder *decoder
	// ended, if not nil, is called when a run has ended, and line for each line.
	ended func(*runResult)
	line  func(string)
}

func newResults(runs []job.Run) *results {
	r := &results{}
	for _, run := range runs {
		r.runs = append(r.runs, &runResult{run: run, tests: map[string]*testResult{}})
	}
	return r
}

// take handles a message of machine.boot.
func (r *results) take(m job.Message) error {
	if m.Kind == job.Line || m.Kind == job.List || m.Kind == job.End {
		if r.current == nil || r.current.run.Name != m.Run {
			return fmt.Errorf("%s of %q, which has not started", m.Kind, m.Run)
		}
	}
	switch m.Kind {
	case job.Hello:
		r.release = m.Text
	case job.Start:
		i := slices.IndexFunc(r.runs, func(run *runResult) bool { return run.run.Name == m.Run })
		if i < 0 {
			return fmt.Errorf("start of %q, which the job does not have", m.Run)
		}
		var err error
		r.current, r.began = r.runs[i], time.Now()
		r.decoder, err = newDecoder(r.current)
		return err
	case job.List:
		r.current.listed = m.Tests
	case job.Line:
		if r.line != nil {
			r.line(m.Text)
		}
		return r.decoder.line(m.Text)
	case job.End:
		err := r.decoder.close()
		r.current.left, r.current.status, r.current.ended = m.Left, m.Status, true
		r.current.elapsed = time.Since(r.began)
		if r.ended != nil {
			r.ended(r.current)
		}
		r.current, r.decoder = nil, nil
		return err
	case job.Alive, job.Done, job.Error:
	default:
		return fmt.Errorf("message of kind %q", m.Kind)
	}
	return nil
}

// close ends the runs that a dead machine did not end.
func (r *results) close() error {
	if r.decoder == nil {
		return nil
	}
	err := r.decoder.close()
	r.decoder = nil
	return err
}

// passed are the top-level tests that have passed.
func (r *results) passed() (tests []record.Test) {
	for _, run := range r.runs {
		pkg, _, _ := strings.Cut(run.run.Name, " ") // the rest distinguishes runs
		for _, name := range run.order {
			if run.tests[name].outcome == passed && !strings.Contains(name, "/") {
				tests = append(tests, record.Test{Package: "regrow/" + pkg, Name: name})
			}
		}
	}
	return tests
}

// decoder reads a test binary's lines by go tool test2json.
type decoder struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan error
}

// event is a line of test2json, see go doc test2json.
type event struct {
	Action, Test, Output, Key, Value string
	Elapsed                          float64
}

func newDecoder(run *runResult) (*decoder, error) {
	d := &decoder{cmd: exec.Command("go", "tool", "test2json", "-t"), done: make(chan error, 1)}
	in, err := d.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	d.in = in
	go func() {
		for dec := json.NewDecoder(out); ; {
			var e event
			if err := dec.Decode(&e); errors.Is(err, io.EOF) {
				d.done <- nil
				return
			} else if err != nil {
				d.done <- fmt.Errorf("test2json: %w", err)
				return
			}
			run.take(e)
		}
	}()
	return d, nil
}

func (d *decoder) line(text string) error {
	_, err := io.WriteString(d.in, text+"\n")
	return err
}

func (d *decoder) close() error {
	err := d.in.Close()
	return errors.Join(err, <-d.done, d.cmd.Wait())
}

func (run *runResult) take(e event) {
	if e.Test == "" {
		if e.Action == "output" {
			run.output.WriteString(e.Output)
		}
		return
	}
	t := run.tests[e.Test]
	if t == nil {
		t = &testResult{outcome: running, attrs: map[string]string{}}
		run.tests[e.Test] = t
		run.order = append(run.order, e.Test)
	}
	switch e.Action {
	case "output":
		t.output.WriteString(e.Output)
	case "attr":
		t.attrs[e.Key] = e.Value
	case "pass", "fail", "skip":
		t.outcome, t.seconds = outcome(e.Action), e.Elapsed
	}
}

// slowest lists the tests that took most of a run's time, "" if the run was short.
func (run *runResult) slowest() string {
	const most, worth = 3, 10
	var long []string
	for name, t := range run.tests {
		if t.seconds >= worth && !strings.Contains(name, "/") {
			long = append(long, name)
		}
	}
	slices.SortFunc(long, func(a, b string) int { return cmp.Compare(run.tests[b].seconds, run.tests[a].seconds) })
	var b strings.Builder
	for _, name := range long[:min(most, len(long))] {
		fmt.Fprintf(&b, ", %s %.0f", name, run.tests[name].seconds)
	}
	return b.String()
}

// measures are the figures that the tests have printed.
func (r *results) measures() (all []string) {
	for _, run := range r.runs {
		for _, name := range run.order {
			if text := run.tests[name].attrs["measure"]; text != "" {
				all = append(all, name+": "+text)
			}
		}
	}
	return all
}

// verdict is the summary of a run: tests with their messages.
type verdict struct {
	passed          int
	failed, skipped []finding
}

func (v *verdict) add(w verdict) {
	v.passed += w.passed
	v.failed = append(v.failed, w.failed...)
	v.skipped = append(v.skipped, w.skipped...)
}

// print prints the summary of a kernel.
func (v *verdict) print(kernel string) {
	for _, f := range v.skipped {
		fmt.Printf("SKIP %s  %s: %s\n", kernel, f.name, f.why)
	}
	for _, f := range v.failed {
		fmt.Printf("FAIL %s  %s\n%s\n", kernel, f.name, indent(f.why))
	}
}

// finding is a failure, with the name of a test or a run.
type finding struct {
	name, why string
}

// verdict judges a run. All tests that were listed or have begun must have ended, and the
// binary's exit status must agree with its tests.
func (run *runResult) verdict(skip map[string]string) (v verdict) {
	bad := func(name, format string, args ...any) {
		v.failed = append(v.failed, finding{run.run.Name + " " + name, strings.TrimSpace(fmt.Sprintf(format, args...))})
	}
	for _, name := range run.order {
		t := run.tests[name]
		switch t.outcome {
		case passed:
			v.passed++
		case skipped:
			v.skipped = append(v.skipped, finding{run.run.Name + " " + name, reason(t.output.String())})
		case failed:
			// A failed test with failed subtests is represented by these.
			if !slices.ContainsFunc(run.order, func(sub string) bool {
				return strings.HasPrefix(sub, name+"/") && run.tests[sub].outcome == failed
			}) || strings.Count(t.output.String(), "\n") > 2 {
				bad(name, "%s", t.output.String())
			}
		default:
			bad(name, "lost: it began and did not end\n%s", t.output.String())
		}
	}
	for _, name := range run.listed {
		switch {
		case run.tests[name] != nil:
		case skip[name] != "":
			v.skipped = append(v.skipped, finding{run.run.Name + " " + name, skip[name]})
		case run.run.Run == "":
			bad(name, "lost: it never began")
		}
	}
	switch {
	case !run.ended:
		bad("(all of it)", "lost: the run did not end\n%s", run.output.String())
	case run.status != 0 && len(v.failed) == 0:
		bad("(all of it)", "status %d\n%s", run.status, run.output.String())
	case run.status == 0 && len(v.failed) > 0:
		bad("(all of it)", "status 0, though tests failed")
	case len(run.tests) == 0 && run.run.Run == "":
		bad("(all of it)", "ran no test")
	}
	if len(run.left) > 0 {
		bad("(all of it)", "left behind:\n%s", strings.Join(run.left, "\n"))
	}
	return v
}

// reason extracts the reason of a skip from a test's output.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			said = append(said, line)
		}
	}
	return strings.Join(said, "; ")
}
