package images

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"regrow/tasktree"
)

// TestLocateLine makes one mistake in each line of the examples, and checks that the message
// has the position of that line.
func TestLocateLine(t *testing.T) {
	mistakes := map[string]func(line string) string{
		"a comma behind":     func(line string) string { return line + "," },
		"two commas":         func(line string) string { return strings.Replace(line, ", ", ", , ", 1) },
		"no comma":           func(line string) string { return strings.Replace(line, ", ", " ", 1) },
		"no colon":           func(line string) string { return strings.Replace(line, ": ", " ", 1) },
		"no space":           func(line string) string { return strings.Replace(line, ": ", ":", 1) },
		"a key twice":        func(line string) string { return strings.Replace(line, ": ", ": x: ", 1) },
		"a star":             func(line string) string { return strings.Replace(line, ": ", ": *.", 1) },
		"a star in brackets": func(line string) string { return strings.Replace(line, "[", "[*., ", 1) },
		"braces in a text":   func(line string) string { return strings.Replace(line, ", ", " x{a,b}, ", 1) },
		"a tab":              func(line string) string { return "\t" + line },
	}
	paths, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	made := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		if len(lines) > 100 {
			continue // a long one: there is a run for each line
		}
		for i, line := range lines {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for name, mistake := range mistakes {
				lines[i] = mistake(line)
				_, err := Decode(strings.NewReader(strings.Join(lines, "\n")), "t", "")
				invalid, ok := errors.AsType[*tasktree.InvalidError](err)
				if !ok || invalid.Problems[0].Path != "" {
					continue // still valid
				}
				made++
				if pos := invalid.Problems[0].Pos; pos.Line != i+1 || strings.Contains(err.Error(), "near line") {
					t.Errorf("%s in line %d of %s: %v", name, i+1, path, err)
				}
			}
			lines[i] = line
		}
	}
	if made < 100 {
		t.Errorf("only %d mistakes", made)
	}
}
