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

// placed matches a message that begins with a place in a description,
// FILE:LINE:COL. The path itself has no ": ", as wrapped errors have.
var placed = regexp.MustCompile(`^(?:[^:\n]|:[^ \n])*?:\d+:\d+: `)

// explain prints an error. A message about a description begins with its place,
// FILE:LINE:COL; every other begins with "regrow: ".
func explain(w io.Writer, err error) {
	text := withCure(err).Error()
	if rest, ok := strings.CutPrefix(text, "images: "); ok { // a description that cannot be read
		text = "regrow: " + rest
	}
	if !strings.HasPrefix(text, "regrow: ") && !placed.MatchString(text) {
		text = "regrow: " + text
	}
	_, _ = fmt.Fprintln(w, text)
}

// withCure adds to a full table of regrow's own what allows more. Its soft limit
// was raised already.
func withCure(err error) error {
	if op, isOp := errors.AsType[*restore.OpError](err); !fullTable(err) || isOp && op.Reason != "" {
		return err
	}
	cure := ""
	var limit unix.Rlimit
	switch limited := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil; {
	case limited && madeAsCaller():
		cure = fmt.Sprintf(": this is the caller that the description asks for, and its RLIMIT_NOFILE is %d; raise caller.nofile, or lower caller.open", limit.Max)
	case limited:
		cure = fmt.Sprintf(": the hard RLIMIT_NOFILE is %d, raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE", limit.Max)
	}
	return fmt.Errorf("%w (regrow's own table of descriptors is full%s)", err, cure)
}

// fullTable reports whether regrow itself, and no task, has as many descriptors as
// it may.
func fullTable(err error) bool {
	op, isOp := errors.AsType[*restore.OpError](err)
	return errors.Is(err, unix.EMFILE) && (!isOp || op.Task == "")
}
