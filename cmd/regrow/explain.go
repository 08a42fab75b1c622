package main

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// explain prints an error. One of a description starts each line with its place
// already.
func explain(w io.Writer, err error) {
	if op, isOp := errors.AsType[*restore.OpError](err); fullTable(err) && (!isOp || op.Reason == "") {
		err = fmt.Errorf("%w (regrow's own table of descriptors is full%s)", err, limitOfFiles())
	}
	_, _ = fmt.Fprintln(w, err)
}

// fullTable reports whether regrow itself, and no task, has as many descriptors as
// it may.
func fullTable(err error) bool {
	op, isOp := errors.AsType[*restore.OpError](err)
	return errors.Is(err, unix.EMFILE) && (!isOp || op.Task == "")
}

// limitOfFiles says what allows more: regrow has raised its soft limit already.
func limitOfFiles() string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return ""
	}
	return fmt.Sprintf(": the hard RLIMIT_NOFILE is %d, raise it with ulimit -Hn, which needs CAP_SYS_RESOURCE", limit.Max)
}
