package syntax

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	v3 "gopkg.in/yaml.v3"
)

// long returns a description of many lines, of which one is replaced.
func long(line int, text string) string {
	lines := []string{"version: 1", "files:", "  f: {type: pipe}", "tasks:", "  - name: root", "    children:"}
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf("      - name: t%d", i), "        fds: {0: f.r, 1: f.w}", "        run: [sh, -c, 'echo \"$0\"']", "")
	}
	lines[line-1] = text
	return strings.Join(lines, "\n")
}

// TestLong checks that a mistake in a text longer than yaml.v4 parses has the right line.
func TestLong(t *testing.T) {
	for name, mistake := range map[string]string{
		"no comma":        "        fds: {0: f.r 1: f.w}",
		"a comma behind":  "        fds: {0: f.r, 1: f.w},",
		"between columns": "       fds: {0: f.r, 1: f.w}",
		"too little":      "     fds: {0: f.r, 1: f.w}",
		"a tab":           "\tfds: {0: f.r, 1: f.w}",
		"a star":          "        run: [ls, *.go]",
		"a bracket":       "        run: [ls]]",
		"no colon":        "        fds {0: f.r, 1: f.w}",
		"an open bracket": "        run: [ls",
	} {
		for _, line := range []int{8, 4000, 11996} {
			text := long(line, mistake)
			err := v3.Unmarshal([]byte(text), new(v3.Node))
			if err == nil {
				t.Fatalf("%s: accepted", name)
			}
			p := Locate([]byte(text), err)
			if near := strings.HasPrefix(name, "an open"); p.Line != line && (!near || p.Line > line+2) || strings.Contains(p.Msg, "near line") {
				t.Errorf("%s in line %d: %+v", name, line, p)
			}
		}
	}
}

// TestPanic checks that the position of yaml.v3 is reported if yaml.v4 panics.
func TestPanic(t *testing.T) {
	defer func() { newLoader = yaml.NewLoader }()
	newLoader = func(io.Reader, ...yaml.Option) (*yaml.Loader, error) { panic("a bug") }
	text := []byte("a: b\nc: @x\n")
	p := Locate(text, v3.Unmarshal(text, new(v3.Node)))
	if want := (Problem{2, 1, "invalid YAML near line 2: found character that cannot start any token"}); p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
}
