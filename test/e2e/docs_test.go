package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fenced matches a block of a page that contains a description.
var fenced = regexp.MustCompile("(?s)\n```yaml\n(version: 1\n.*?)```\n")

// documented returns the first description of a page that contains some words.
func documented(t *testing.T, page, words string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], words) {
			return m[1]
		}
	}
	t.Fatalf("%s: no description with %q", page, words)
	return ""
}

// TestDocumentedScenario checks that the example of the pages has the outcomes that it
// expects, with every form of the command.
func TestDocumentedScenario(t *testing.T) {
	path := write(t, documented(t, "docs/description.md", "expect:"))
	for _, c := range []struct {
		flags  []string
		status int
		says   string
	}{
		{[]string{"--check"}, 0, "6 restores predicted and tried: 6 as expected"},
		{nil, 0, "holds"},
		{[]string{"--run"}, 0, "as predicted"},
		{[]string{"--run", "--naive"}, 1, "fd 5 was jobs.r"},
		{[]string{"--shrink", "--naive"}, 0, "version: 1"},
	} {
		res := run(t, append(append([]string{"conflicts"}, c.flags...), path)...)
		if res.status != c.status || !strings.Contains(res.out, c.says) || res.errors != "" {
			t.Errorf("%v: status %d, want %d and %q:\n%s%s", c.flags, res.status, c.status, c.says, res.out, res.errors)
		}
		noDescendants(t)
	}
}

// TestExamplesAreSilent checks that regrow check prints nothing for the examples, the
// scenarios, and every complete description of the pages.
func TestExamplesAreSilent(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"../../examples/*.yaml", "../scenarios/*.yaml"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		paths = append(paths, some...)
	}
	for _, page := range []string{"README.md", "docs/description.md", "docs/commands.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
			paths = append(paths, write(t, m[1]))
		}
	}
	for _, path := range paths {
		if res := run(t, "check", path); res.status != 0 || res.errors != "" {
			t.Errorf("%s: status %d: %s", path, res.status, res.errors)
		}
	}
}
