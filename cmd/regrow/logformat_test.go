package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// TestPlainFormat checks the format of log entries.
func TestPlainFormat(t *testing.T) {
	var out strings.Builder
	log := logrus.New()
	log.SetOutput(&out)
	log.SetFormatter(plainFormat{})
	log.SetLevel(logrus.DebugLevel)
	log.WithError(errors.New("no space left on device")).Warn("the trace could not be written")
	log.WithFields(logrus.Fields{"task": "a b", "fd": 3, "file": ""}).Debug("pull")
	log.WithField("tasks", 2).WithError(errors.New("late")).Info("released")
	log.Error("plain")
	want := `regrow: warning: the trace could not be written: no space left on device
regrow: debug: pull: fd=3 file="" task="a b"
regrow: info: released: tasks=2: late
regrow: error: plain
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// TestErrorPrefix checks how error messages begin.
func TestErrorPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"tree.yaml:3:4: restore: x":            "tree.yaml:3:4: restore: x",
		"a b/tree:1.yaml:3:4: x: y:7:8: z":     "a b/tree:1.yaml:3:4: x: y:7:8: z",
		"<stdin>:1:1: x":                       "<stdin>:1:1: x",
		"tree.yaml: restore: timed out":        "regrow: tree.yaml: restore: timed out",
		"conflicts: tree.yaml:3:4: restore: x": "regrow: conflicts: tree.yaml:3:4: restore: x",
		"images: open x.yaml: no such file":    "regrow: open x.yaml: no such file",
		"regrow: unknown command":              "regrow: unknown command",
		"got SIGTERM while writing 1:2: x":     "regrow: got SIGTERM while writing 1:2: x",
	} {
		var out strings.Builder
		printError(&out, errors.New(text))
		if got := strings.TrimSuffix(out.String(), "\n"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
