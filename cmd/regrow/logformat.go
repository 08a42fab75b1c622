package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"
)

// plainFormat writes log entries as regrow writes its other messages:
//
//	regrow: warning: the trace could not be written: no space left on device
//	regrow: debug: pull: fd=3 file=jobs.r message=0 pid=12 task=worker
//
// Fields follow in the order of their names; an error comes last.
type plainFormat struct{}

// Format implements [logrus.Formatter].
func (plainFormat) Format(e *logrus.Entry) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "regrow: %s: %s", e.Level, e.Message)
	separator := ": "
	for _, key := range slices.Sorted(maps.Keys(e.Data)) {
		if key == logrus.ErrorKey {
			continue
		}
		value := fmt.Sprint(e.Data[key])
		if value == "" || strings.ContainsAny(value, " \t\n\"=") {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(&b, "%s%s=%s", separator, key, value)
		separator = " "
	}
	if err, failed := e.Data[logrus.ErrorKey]; failed {
		fmt.Fprintf(&b, ": %v", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
