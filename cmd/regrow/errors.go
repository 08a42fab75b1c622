package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// positioned matches a message that begins with a position in a description,
// FILE:LINE:COL. The path itself contains no ": ", which separates wrapped errors.
var positioned = regexp.MustCompile(`^(?:[^:\n]|:[^ \n])*?:\d+:\d+: `)

// printError prints an error. A message about a description begins with its position,
// FILE:LINE:COL; every other message begins with "regrow: ".
func printError(w io.Writer, err error) {
	text := withRemedy(err).Error()
	if rest, ok := strings.CutPrefix(text, "images: "); ok { // a description that cannot be read
		text = "regrow: " + rest
	}
	if !strings.HasPrefix(text, "regrow: ") && !positioned.MatchString(text) {
		text = "regrow: " + text
	}
	_, _ = fmt.Fprintln(w, text)
}

// withRemedy adds to an error about regrow's own full descriptor table how to allow
// more descriptors. The Go runtime has raised the soft limit already.
func withRemedy(err error) error {
	if op, isOp := errors.AsType[*restore.OpError](err); !fullTable(err) || isOp && op.Reason != "" {
		return err
	}
	remedy := ""
	var limit unix.Rlimit
	switch limited := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil; {
	case limited && madeAsCaller():
		remedy = fmt.Sprintf(": this process is the caller that the description describes, and its RLIMIT_NOFILE is %d; raise caller.nofile, or lower caller.open", limit.Max)
	case limited:
		remedy = fmt.Sprintf(": the hard RLIMIT_NOFILE is %d; raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE", limit.Max)
	}
	return fmt.Errorf("%w (regrow's own descriptor table is full%s)", err, remedy)
}

// fullTable reports whether the error is that regrow itself, and not a task, has no
// free descriptor.
func fullTable(err error) bool {
	op, isOp := errors.AsType[*restore.OpError](err)
	return errors.Is(err, unix.EMFILE) && (!isOp || op.Task == "")
}
