package syntax_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"regrow/images/internal/syntax"
)

// FuzzLocate checks that the position of an error is inside the text, and that the message
// is complete.
func FuzzLocate(f *testing.F) {
	for _, folder := range []string{"../../testdata/bad", "../../../examples"} {
		paths, err := filepath.Glob(folder + "/*.yaml")
		if err != nil || len(paths) == 0 {
			f.Fatalf("nothing in %s: %v", folder, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, ok := syntax.Junk([]byte(text)); !ok {
			return
		}
		err := refusal(text)
		if err == nil {
			return
		}
		p := syntax.Locate([]byte(text), err)
		lines := syntax.Lines(text)
		if p.Line < 1 || p.Line > len(lines) || p.Col < 1 || p.Col > utf8.RuneCountInString(lines[p.Line-1])+1 {
			t.Errorf("%+v is behind the text", p)
		}
		if p.Msg == "" || strings.ContainsAny(p.Msg, "\n\x00") {
			t.Errorf("message %q", p.Msg)
		}
	})
}

// refusal returns the error of yaml.v3 for a text.
func refusal(text string) error {
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		switch err := dec.Decode(new(yaml.Node)); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
