package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// explain prints an error. One of a description starts each line with its place
// already, any other begins with regrow.
func explain(w io.Writer, err error) {
	text := withCure(err).Error()
	if rest, ok := strings.CutPrefix(text, "images: "); ok { // a description that cannot be read
		text = "regrow: " + rest
	}
	for _, part := range []string{"restore: ", "plan: ", "conflicts: ", "pid file: ", "trace: ", "report: ", "got SIG"} {
		if strings.HasPrefix(text, part) {
			text = "regrow: " + text
			break
		}
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
		cure = fmt.Sprintf(": this is the caller that the description asks for, and its RLIMIT_NOFILE is %d; say a higher caller.nofile, or less of caller.open", limit.Max)
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
