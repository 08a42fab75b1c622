package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fenced is a block of a page in which a description stands.
var fenced = regexp.MustCompile("(?s)\n```yaml\n(version: 1\n.*?)```\n")

// documented gives the description of a page that has some words in it.
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

// TestDocumentedScenario holds that the example of the pages can be copied out: it
// ends as it says, with every form of the command.
func TestDocumentedScenario(t *testing.T) {
	path := write(t, documented(t, "docs/description.md", "expect:"))
	for _, c := range []struct {
		flags  []string
		status int
		says   string
	}{
		{[]string{"--check"}, 0, "6 restores predicted and tried: 6 as expected"},
		{nil, 0, "held"},
		{[]string{"--run"}, 0, "as predicted"},
		{[]string{"--run", "--naive"}, 1, "fd 5 was jobs.r"},
		{[]string{"--shrink", "--naive"}, 0, "version: 1"},
	} {
		res := run(t, append(append([]string{"conflicts"}, c.flags...), path)...)
		if res.status != c.status || !strings.Contains(res.out, c.says) || res.errors != "" {
			t.Errorf("%v: status %d, want %d and %q:\n%s%s", c.flags, res.status, c.status, c.says, res.out, res.errors)
		}
		nobody(t)
	}
}

// TestReadmeTree holds that README's description can be copied out, and does what
// it shows there.
func TestReadmeTree(t *testing.T) {
	path := write(t, documented(t, "README.md", "tasks:"))
	res := run(t, "restore", "--timeout", "10s", path)
	if res.status == 3 {
		need(t, "user namespaces: "+res.errors)
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(text), "$ regrow restore tree.yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	if res.status != 0 || res.errors != "" || res.out != shown || shown == "" {
		t.Errorf("status %d, %q, %s; README shows %q", res.status, res.out, res.errors, shown)
	}
	if log, err := os.Stat(filepath.Join(filepath.Dir(path), "app.log")); err != nil || log.Mode().Perm() != 0o640 {
		t.Errorf("the log: %v, %v", log, err)
	}
	nobody(t)
}
