package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
)

// Exit statuses, see the README.
const (
	exitOK       = 0
	exitNo       = 1   // the answer is no: a detached restore failed, a conflict stands
	exitUsage    = 2   // wrong usage or an invalid description; nothing was started
	exitHost     = 3   // the kernel or the privileges lack something; nothing was started
	exitForeFail = 125 // a foreground restore failed after it had begun
	exitNotExec  = 126 // the same, because a program cannot be executed
	exitNotFound = 127 // the same, because a program is not there
)

func main() {
	restore.Init() // this process may be one that keeps open files for another
	tuneMemory()
	tuneProcessors()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exitError is an error with the status that it ends regrow with. An err of nil
// means that everything was said already.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// run does what the arguments say and gives the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newCommand()
	out := &output{w: stdout}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(stderr)
	addCompletion(root)
	err := root.Execute()
	exit, ok := errors.AsType[*exitError](err)
	switch {
	case ok:
	case out.err != nil:
		exit = &exitError{exitNo, fmt.Errorf("regrow: %w", out.err)}
	case err == nil:
		return exitOK
	default: // what cobra itself finds wrong is usage
		exit = &exitError{exitUsage, fmt.Errorf("regrow: %w", err)}
	}
	if exit.err != nil {
		explain(stderr, exit.err)
	}
	return exit.status
}

// newCommand makes the tree of commands.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "regrow",
		Short: "Restore process trees from a YAML description",
		Long: `regrow restores process trees from a YAML description: the tasks, the files that
each of them has open, at which numbers, and which of these files they share.`,
		Example: `  a demo tree that lives on, and its end:
    regrow restore --detach --pidfile tree.pid tree.yaml
    kill -- -$(cat tree.pid)

  a conflict of descriptors, predicted and tried:
    regrow conflicts --naive --run test/scenarios/01-pipe-swapped.yaml

  a test in a virtual machine: what its kernel lacks, then the tree and its status:
    regrow check --host tree.yaml && regrow restore tree.yaml`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noSuchCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: roomForRuntime,
		DisableAutoGenTag: true,
		Version:           versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newRestore(), newCheck(), newPlan(), newConflicts(), newSchema(), newVerify(), newVersion())
	return root
}

// roomForRuntime demands a few free descriptors before any command begins. With
// the first file the Go runtime opens an epoll instance and an eventfd, and where it
// gets none it ends the process with a traceback. What is too low is a limit of
// this host, whether the description is valid or not.
func roomForRuntime(*cobra.Command, []string) error {
	for range 2 {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return &exitError{exitHost, fmt.Errorf("regrow: no room to begin: %w", os.NewSyscallError("pipe2", err))}
		}
		for _, fd := range pipe {
			defer unix.Close(fd)
		}
	}
	return nil
}

// statusOf maps an error of images or restore to an exit status.
func statusOf(err error, detach bool) int {
	var invalid *tasktree.InvalidError
	var given *tasktree.GivenError
	var host *restore.HostError
	var refused *restore.RefusedError
	switch {
	case errors.As(err, &invalid), errors.As(err, &given):
		return exitUsage
	case errors.As(err, &host), errors.As(err, &refused): // limits that can be seen beforehand among them
		return exitHost
	case detach:
		return exitNo
	}
	switch programs, notFound := parts.Programs(err); {
	case notFound:
		return exitNotFound
	case programs:
		return exitNotExec
	}
	return exitForeFail
}
