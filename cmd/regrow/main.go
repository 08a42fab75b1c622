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

// Exit statuses, see docs/commands.md.
const (
	exitOK       = 0
	exitNo       = 1   // the answer is no: a detached restore failed, a tree has a conflict
	exitUsage    = 2   // wrong usage or an invalid description; nothing was started
	exitHost     = 3   // the kernel or the privileges lack something; nothing was started
	exitForeFail = 125 // a foreground restore failed after it had begun
	exitNotExec  = 126 // the same, because a program cannot be executed
	exitNotFound = 127 // the same, because a program does not exist
)

func main() {
	restore.Init() // serves and does not return if this process is the service of a restore
	limitMemory()
	limitProcessors()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// exitError is an error and the exit status that it causes. err is nil if everything
// was printed already.
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

// run executes the command line and returns the exit status.
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
	default: // an error of cobra itself is wrong usage
		exit = &exitError{exitUsage, fmt.Errorf("regrow: %w", err)}
	}
	if exit.err != nil {
		printError(stderr, exit.err)
	}
	return exit.status
}

// newCommand makes the tree of commands.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "regrow",
		Short: "Restore process trees from a YAML description",
		Long: `regrow restores process trees from a YAML description: the tasks, the files that
each task has open, the descriptor numbers, and which open files are shared.`,
		Example: `  restore a demo tree that lives on, and end it:
    regrow restore --detach --pidfile tree.pid tree.yaml
    kill -- -$(cat tree.pid)

  predict a descriptor conflict, and try it:
    regrow conflicts --naive --run test/scenarios/01-pipe-swapped.yaml

  in a virtual machine, list what the kernel lacks, then restore:
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

// roomForRuntime checks that a few descriptors are free before a command begins. With
// the first file the Go runtime opens an epoll instance and an eventfd, and if it
// cannot, it ends the process with a traceback. A limit that is too low is a lack of
// the host, whether the description is valid or not.
func roomForRuntime(*cobra.Command, []string) error {
	for range 2 {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return &exitError{exitHost, fmt.Errorf("regrow: cannot begin without free descriptors: %w", os.NewSyscallError("pipe2", err))}
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
	case errors.As(err, &host), errors.As(err, &refused): // also limits that are known beforehand
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
