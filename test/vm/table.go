package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// table has the answer of each kernel for each feature, see TestFeatures in test/e2e.
type table struct {
	kernels  []string // columns: release by kernel
	features []string // rows
	answers  map[[2]string]string
}

func newTable() *table { return &table{answers: map[[2]string]string{}} }

// add adds the results of a kernel.
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

// answer adds the answer of a test, if it is a test of a feature.
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

// markdown returns the table in Markdown.
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

// Marks around the table in docs/kernels.md.
const (
	tableBegin = "<!-- written by make test-vm -->\n"
	tableEnd   = "<!-- end -->\n"
)

// replaceTable replaces the table between the marks of a text.
func replaceTable(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return "", errors.New("the marks around the table are missing")
	}
	return before + tableBegin + "\n" + table + "\n" + tableEnd + after, nil
}

// write updates the table in a page.
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
