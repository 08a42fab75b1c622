package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// table is what each kernel answered to each feature, see TestFeatures in
// test/e2e.
type table struct {
	kernels  []string // columns: release by kernel
	features []string // rows
	answers  map[[2]string]string
}

func newTable() *table { return &table{answers: map[[2]string]string{}} }

// add takes what came of a kernel.
func (t *table) add(release string, tried []trial) {
	t.kernels = append(t.kernels, release)
	for _, trial := range tried {
		for _, run := range trial.results.runs {
			for _, name := range run.order {
				t.answer(release, run.tests[name].attrs)
			}
		}
	}
}

// answer takes what a test has said of a feature, if it is one that does.
func (t *table) answer(release string, attrs map[string]string) {
	feature := attrs["feature"]
	if feature == "" {
		return
	}
	if !slices.Contains(t.features, feature) {
		t.features = append(t.features, feature)
	}
	t.answers[[2]string{release, feature}] = cmp.Or(attrs["answer"], "LOST")
}

// markdown writes the table.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| feature | %s |\n|---%s|\n", strings.Join(t.kernels, " | "), strings.Repeat("|---", len(t.kernels)))
	for _, feature := range t.features {
		fmt.Fprintf(&b, "| %s |", feature)
		for _, k := range t.kernels {
			answer := t.answers[[2]string{k, feature}]
			if answer == "" {
				answer = "LOST"
			}
			fmt.Fprintf(&b, " %s |", answer)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Marks around what is written anew in docs/kernels.md.
const (
	tableBegin = "<!-- written by make test-vm -->\n"
	tableEnd   = "<!-- end -->\n"
)

// replaceTable puts a table between the marks of a text.
func replaceTable(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return "", errors.New("the marks around the table are not there")
	}
	return before + tableBegin + "\n" + table + "\n" + tableEnd + after, nil
}

// write puts the table into a file of the docs.
func (t *table) write(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := replaceTable(string(old), t.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if text == string(old) {
		return nil
	}
	progress("writing %s", path)
	return os.WriteFile(path, []byte(text), 0o644)
}
