package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"regrow/fdstore"
)

func newRun() *cobra.Command {
	var list []spec
	cmd := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARG...]",
		Short: "Open files, keep them, and run a program that uses them",
		Long: `run puts files into a new store and runs a program that has the store. The program
and its descendants use it with fdhold get, ls and put, or package fdstore.
run exits with the program's status, or 128+N if signal N ended the program.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			before, program, err := beforeDash(cmd, args)
			if err == nil && len(before) > 0 {
				err = &exitError{exitUsage, fmt.Errorf("run: unexpected argument %q before the --", before[0])}
			}
			if err != nil {
				return err
			}
			return hold(list, program)
		},
	}
	flags := cmd.Flags()
	flags.Var(specs{&list, parseListen}, "listen", "NETWORK:ADDRESS=NAME: a listening or receiving socket")
	flags.Var(specs{&list, parseOpen(unix.O_RDWR | unix.O_CREAT | unix.O_APPEND)}, "open", "NAME=PATH: a file to read and to append to, created if it does not exist")
	flags.Var(specs{&list, parseOpen(unix.O_RDONLY)}, "read", "NAME=PATH: a file to read")
	return cmd
}

// hold keeps files while a program runs.
func hold(list []spec, program []string) error {
	path, err := findProgram(program[0])
	if err != nil {
		return err
	}
	s, err := fdstore.New(fdstore.Options{})
	if err != nil {
		return &exitError{exitFailed, err}
	}
	defer func() { _ = s.Close() }() // the process ends
	if err := addAll(s, list); err != nil {
		return &exitError{exitFailed, err}
	}
	d, err := openDoor(s)
	if err != nil {
		return &exitError{exitFailed, err}
	}
	defer d.close()
	cmd := &exec.Cmd{Path: path, Args: program, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	if err := s.AddToCmd(cmd); err != nil {
		return &exitError{exitFailed, err}
	}
	d.addToCmd(cmd)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passed...)
	if err := cmd.Start(); err != nil {
		return execError(err)
	}
	go d.serve()
	go pass(signals, cmd.Process)
	return &exitError{status: statusOf(cmd)}
}

// passed are the signals that fdhold forwards to the program.
var passed = []os.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH}

// pass forwards signals. A terminal sends the signals of its keys to its whole
// foreground group, so the program has these already.
func pass(signals <-chan os.Signal, to *os.Process) {
	for sig := range signals {
		switch sig {
		case unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH:
			if inForeground() {
				continue
			}
		}
		_ = to.Signal(sig) // it fails if the program has ended
	}
}

func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// statusOf waits for a program and returns its status as a shell does.
func statusOf(cmd *exec.Cmd) int {
	_ = cmd.Wait() // ProcessState has the details
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// findProgram looks a program up in PATH.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", execError(err)
	}
	return path, nil
}

// execError adds the exit status to an error of starting a program.
func execError(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return &exitError{exitNoProgram, err}
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.ENOEXEC), errors.Is(err, exec.ErrDot):
		return &exitError{exitNoExec, err}
	}
	return &exitError{exitFailed, err}
}

// storeAt returns the variable that fdstore.Inherited reads.
func storeAt(fd int, s *fdstore.Store) string {
	return fdstore.EnvRoot + "=" + strconv.Itoa(fd) + ":" + fmt.Sprintf("%016x", s.Number())
}

// inherited opens the store that the environment names.
func inherited() (*fdstore.Store, error) {
	s, err := fdstore.Inherited()
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("no store: run this in a program started by `fdhold run` (%w)", err)
	}
	return s, err
}
