package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree"
)

// asCallerFlag turns regrow into the process that a description describes under
// "caller". Only regrow itself passes this flag:
//
//	regrow ── fork, descriptors, exec ──▶ --as-caller=64
//	                                        │ RLIMIT_NOFILE = 64, exec
//	                                        ▼
//	                                      --as-caller=0   is the caller, runs the command
//
// The descriptors must be in place before a Go runtime runs, which could have
// descriptors of its own at their numbers. The runtime reads the limit before main, so
// it must be set before exec.
const asCallerFlag = "as-caller"

// madeAsCaller reports whether runAsCaller has started this process.
func madeAsCaller() bool {
	return len(os.Args) > 2 && strings.HasPrefix(os.Args[2], "--"+asCallerFlag+"=") // where runAsCaller puts it
}

// asksForCaller reports whether a scenario describes its caller, so that regrow must
// start itself again.
func asksForCaller(s *tasktree.Scenario) bool {
	if s == nil {
		return false
	}
	c := s.Caller
	return c.NoFile.Value != 0 || c.Open.Value != 0 || len(c.InheritFD) > 0
}

// load decodes a description. If the description describes its caller, this process
// is not that caller and no flag describes another one, load runs the command in a new
// regrow that is the caller. done is then true: the command was executed.
func (f *conflictsFlags) load(cmd *cobra.Command, path string) (d *description, done bool, err error) {
	d, err = load(path, cmd.InOrStdin(), true)
	if err != nil || f.asCaller >= 0 || f.flagsOfCaller(cmd) || !asksForCaller(d.tree.Scenario) {
		return d, false, err
	}
	standard := [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	args := slices.Clone(os.Args[1:])
	if d.once {
		again, err := readAgain(d, path)
		if err != nil {
			return nil, true, &exitError{exitUsage, fmt.Errorf("%s: %w", d.tree.Source, err)}
		}
		defer again.Close()
		if path == "-" {
			standard[0] = again
		} else if i := slices.Index(args, path); i >= 0 {
			// By a path and not by a number of the new process, which the
			// scenario may need.
			args[i] = proc.FDPath(os.Getpid(), int(again.Fd()))
		}
	}
	status, err := runAsCaller(cmd.Context(), d.tree.Scenario, standard, args...)
	if err != nil {
		return nil, true, &exitError{exitNo, fmt.Errorf("conflicts: %w", err)}
	}
	if status != exitOK {
		return nil, true, &exitError{status, nil}
	}
	return d, true, nil
}

// readAgain copies a description that can be read only once into a file, for the new
// process that reads it again. The caller closes the file.
func readAgain(d *description, path string) (*os.File, error) {
	for _, fd := range d.tree.Scenario.Caller.InheritFD {
		if fd.FD.Value == 0 && path == "-" {
			return nil, errors.New("caller.inherit_fd: descriptor 0 is standard input, from which the description is read; write the description to a file and give its path")
		}
	}
	fd, err := unix.MemfdCreate("description", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "description")
	if _, err := file.WriteAt(d.text.Bytes(), 0); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// flagsOfCaller reports whether flags describe the caller. Then this process is the
// caller, and the description's caller is ignored.
func (f *conflictsFlags) flagsOfCaller(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("inherit-fd") || cmd.Flags().Changed("service-fd")
}

// callerFiles opens the descriptors of a scenario's caller. files is indexed by number.
// Each descriptor has an open file of its own, so that kcmp distinguishes them. opened
// are the files that the calling function must close.
func callerFiles(s *tasktree.Scenario, standard [3]*os.File) (files, opened []*os.File, err error) {
	var numbers []int
	if s != nil {
		for n := 3; n < int(s.Caller.Open.Value); n++ {
			numbers = append(numbers, n)
		}
		for _, fd := range s.Caller.InheritFD {
			numbers = append(numbers, int(fd.FD.Value))
		}
	}
	files = slices.Clone(standard[:])
	for _, n := range numbers {
		for len(files) <= n {
			files = append(files, nil)
		}
		if n >= len(standard) && files[n] != nil {
			continue
		}
		f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			closeFiles(opened)
			return nil, nil, fmt.Errorf("open descriptor %d of the caller: %w", n, err)
		}
		files[n], opened = f, append(opened, f)
	}
	return files, opened, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// runAsCaller runs regrow with these arguments in a process as a scenario describes it,
// and returns its exit status. standard are its descriptors 0, 1 and 2.
func runAsCaller(ctx context.Context, s *tasktree.Scenario, standard [3]*os.File, args ...string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	files, opened, err := callerFiles(s, standard)
	if err != nil {
		return 0, err
	}
	defer closeFiles(opened)
	if err := hideInherited(); err != nil {
		return 0, err
	}
	limit := int64(0)
	if s != nil {
		limit = s.Caller.NoFile.Value
	}
	args = append([]string{self, args[0], fmt.Sprintf("--%s=%d", asCallerFlag, limit)}, args[1:]...)
	process, err := os.StartProcess(self, args, &os.ProcAttr{Files: files})
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = process.Signal(unix.SIGTERM) }) // then it ends its trees
	defer stop()
	state, err := process.Wait()
	if err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, fmt.Errorf("regrow %s: %w", args[1], context.Cause(ctx))
	}
	if !state.Exited() {
		return 0, fmt.Errorf("regrow %s: %v", args[1], state)
	}
	return state.ExitCode(), nil
}

// hideInherited makes all descriptors above 2 close-on-exec, so that a scenario's
// caller has only what the scenario describes. (close_range(2) can do this since Linux
// 5.11.)
func hideInherited() error {
	numbers, err := proc.FDs(proc.Caller)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n > 2 {
			unix.CloseOnExec(n)
		}
	}
	return nil
}

// becomeCaller sets the caller's RLIMIT_NOFILE and executes regrow again. It returns
// nil if limit is 0, else only with an error.
func becomeCaller(limit int64) error {
	if limit == 0 {
		return nil
	}
	n := uint64(limit)
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		return fmt.Errorf("caller.nofile: %d: %w", limit, os.NewSyscallError("setrlimit", err))
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := slices.Clone(os.Args)
	i := slices.Index(args, fmt.Sprintf("--%s=%s", asCallerFlag, strconv.FormatInt(limit, 10)))
	if i < 0 {
		return errors.New("no --" + asCallerFlag + " among the arguments")
	}
	args[i] = fmt.Sprintf("--%s=0", asCallerFlag)
	return fmt.Errorf("regrow: %w", os.NewSyscallError("execve", syscall.Exec(self, args, os.Environ())))
}
