package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// inheritFlag collects --inherit-fd KEY=N.
type inheritFlag struct {
	fds map[string]int
}

func (f *inheritFlag) add(cmd *cobra.Command) {
	cmd.Flags().Var(f, "inherit-fd", "the caller's descriptor N is the open file that the tree calls KEY; may be repeated")
	completeFlags(cmd, map[string][]string{"inherit-fd": nil})
}

// checkOpen demands that the caller left all of them open. What this process has
// opened itself lands on the lowest free number and must not pass for the
// caller's: since Go 1.25 even the runtime keeps a file open. It is told apart by
// close-on-exec, which nothing that came through an exec can have.
func (f *inheritFlag) checkOpen() error {
	for _, key := range slices.Sorted(maps.Keys(f.fds)) {
		flags, err := unix.FcntlInt(uintptr(f.fds[key]), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fmt.Errorf("--inherit-fd %s=%d: the caller did not leave descriptor %d open", key, f.fds[key], f.fds[key])
		}
	}
	return nil
}

// checkStdin demands that standard input is not handed down if the description
// comes from there: a task would get it read to its end. The key stdin is refused
// for the same reason, at its place in the description.
func (f *inheritFlag) checkStdin(path string) error {
	if path != "-" {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(f.fds)) {
		if f.fds[key] == 0 {
			return fmt.Errorf("--inherit-fd %s=0: standard input cannot be inherited: the description is read from it", key)
		}
	}
	return nil
}

// String implements pflag.Value.
func (f *inheritFlag) String() string { return "" }

// Type implements pflag.Value.
func (f *inheritFlag) Type() string { return "KEY=N" }

// Set implements pflag.Value.
func (f *inheritFlag) Set(s string) error {
	key, number, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("want KEY=N, such as listener=5")
	}
	switch key {
	case "stdin", "stdout", "stderr":
		return fmt.Errorf("the key %s is given already: it is the caller's own", key)
	}
	fd, err := strconv.ParseUint(number, 10, 32)
	if err != nil || fd > math.MaxInt32 {
		return fmt.Errorf("%q is no descriptor number", number)
	}
	if _, twice := f.fds[key]; twice {
		return fmt.Errorf("the key %s is given twice", key)
	}
	if f.fds == nil {
		f.fds = map[string]int{}
	}
	f.fds[key] = int(fd)
	return nil
}
