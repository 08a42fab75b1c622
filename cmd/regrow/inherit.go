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

	"regrow/tasktree"
)

// inheritFlag collects --inherit-fd KEY=N.
type inheritFlag struct {
	fds map[string]int
}

func (f *inheritFlag) add(cmd *cobra.Command) {
	cmd.Flags().Var(f, "inherit-fd", "pass the caller's descriptor N as the open file that the tree calls KEY: the key of an inherit, or the name of any open file, which N replaces; may be repeated")
	completeFlags(cmd, map[string][]string{"inherit-fd": nil})
}

// checkOpen checks that the caller left all of these descriptors open. A descriptor
// that this process has opened itself could be at the same number: since Go 1.25 even
// the runtime keeps a file open. Such a descriptor is close-on-exec; an inherited one
// cannot be, because the exec would have closed it.
func (f *inheritFlag) checkOpen() error {
	for _, key := range slices.Sorted(maps.Keys(f.fds)) {
		flags, err := unix.FcntlInt(uintptr(f.fds[key]), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			return fmt.Errorf("--inherit-fd %s=%d: the caller did not leave descriptor %d open", key, f.fds[key], f.fds[key])
		}
		if mayBeRuntimes(f.fds[key]) {
			return fmt.Errorf("--inherit-fd %s=%d: descriptor %[2]d is /dev/null, open for reading and writing: the Go runtime opens that "+
				"if the caller leaves %[2]d closed, so it may not be the caller's; pass /dev/null at a number above 2", key, f.fds[key])
		}
	}
	return nil
}

// mayBeRuntimes reports whether a descriptor may be the /dev/null that the Go runtime
// opens at start in place of a closed standard descriptor (checkfds in package
// runtime). The runtime does not make it close-on-exec.
func mayBeRuntimes(fd int) bool {
	if fd > 2 {
		return false
	}
	const said = unix.O_ACCMODE | unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_DIRECTORY | unix.O_NOATIME |
		unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_PATH | unix.O_SYNC // the kernel adds O_LARGEFILE
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	var st unix.Stat_t
	return err == nil && flags&said == unix.O_RDWR &&
		unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// checkStdin refuses to pass on standard input if the description was read from it: a
// task would get it at its end. The key stdin is refused for the same reason, with its
// position in the description.
func (f *inheritFlag) checkStdin(d *description) error {
	if !d.stdin {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(f.fds)) {
		if f.fds[key] == 0 {
			return fmt.Errorf("--inherit-fd %s=0: standard input cannot be inherited: the description is read from it", key)
		}
	}
	return nil
}

// replace returns the tree with the caller's descriptors in place of the files that
// the flags name. A key that names nothing in the tree is wrong usage.
func (f *inheritFlag) replace(tree *tasktree.Tree) (*tasktree.Tree, error) {
	replaced, err := tree.Replace(f.fds)
	wrong, ok := errors.AsType[*tasktree.GivenError](err)
	if !ok {
		return replaced, err
	}
	var lines []string
	for _, k := range wrong.Keys {
		lines = append(lines, fmt.Sprintf("regrow: --inherit-fd %s=%d: %s: %s", k.Key, k.FD, tree.Source, k.Msg))
	}
	return nil, &exitError{exitUsage, errors.New(strings.Join(lines, "\n"))}
}

// replaceAllKeys is replace with stdin, stdout and stderr as keys like any other. A
// restore is given these three without a flag; a process that examines the tree later
// has other standard descriptors.
func (f *inheritFlag) replaceAllKeys(tree *tasktree.Tree) (*tasktree.Tree, error) {
	names := inheritFlag{fds: maps.Clone(f.fds)}
	for _, key := range []string{"stdin", "stdout", "stderr"} {
		named := tree.FileNamed(key)
		inherits := slices.ContainsFunc(tree.Files, func(f *tasktree.OpenFile) bool { return tasktree.CallerKey(f.Spec) == key })
		switch fd, given := f.fds[key]; {
		case !given:
		case named == nil && !inherits:
			return nil, &exitError{exitUsage, fmt.Errorf("regrow: --inherit-fd %s=%d: %s: no open file of the tree has this name or key", key, fd, tree.Source)}
		case named == nil || tasktree.CallerKey(named.Spec) == key:
			delete(names.fds, key)
		}
	}
	return names.replace(tree)
}

// replaceForCaller does the same with the descriptors of a scenario's caller. Here a
// wrong key has a position in the description.
func replaceForCaller(tree *tasktree.Tree) (*tasktree.Tree, error) {
	replaced, err := tree.Replace(callerOptions(tree.Scenario).Inherit)
	wrong, ok := errors.AsType[*tasktree.GivenError](err)
	if !ok {
		return replaced, err
	}
	invalid := &tasktree.InvalidError{Source: tree.Source}
	for _, k := range wrong.Keys {
		p := tasktree.Problem{Path: "caller.inherit_fd." + k.Key, Msg: k.Msg}
		for _, fd := range tree.Scenario.Caller.InheritFD {
			if fd.Key.Value == k.Key {
				p.Pos = fd.Key.Pos
			}
		}
		invalid.Problems = append(invalid.Problems, p)
	}
	invalid.Problems = tasktree.SortProblems(invalid.Problems)
	return nil, &exitError{exitUsage, invalid}
}

// String implements pflag.Value.
func (f *inheritFlag) String() string { return "" }

// Type implements pflag.Value.
func (f *inheritFlag) Type() string { return "KEY=N" }

// Set implements pflag.Value.
func (f *inheritFlag) Set(s string) error {
	key, number, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("expected KEY=N, such as listener=5")
	}
	fd, err := strconv.ParseUint(number, 10, 32)
	if err != nil || fd > math.MaxInt32 {
		return fmt.Errorf("%q is not a descriptor number", number)
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
