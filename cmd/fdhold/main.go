package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

// Exit statuses. Those from 125 on are the statuses of env(1).
const (
	exitNo        = 1   // ls or put failed
	exitUsage     = 2   // wrong usage
	exitFailed    = 125 // fdhold itself failed, the program was not started
	exitNoExec    = 126 // the program cannot be executed
	exitNoProgram = 127 // the program does not exist
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// exitError is an error and the exit status that it causes. If err is nil, nothing is
// printed.
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
func run(args []string, stdin *os.File, stdout, stderr io.Writer) int {
	root := newCommand(stdin)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok { // an error of cobra itself
		exit = &exitError{exitUsage, err}
	}
	if exit.err != nil {
		_, _ = fmt.Fprintf(stderr, "fdhold: %v\n", exit.err) // a failed write cannot be reported
	}
	return exit.status
}

func newCommand(stdin *os.File) *cobra.Command {
	root := &cobra.Command{
		Use:   "fdhold",
		Short: "Keep open files for other programs",
		Long: `fdhold keeps open files, typically listening sockets, for the program that it runs
and for the descendants of that program.`,
		Example: `  restart a server whenever it ends, without refusing a connection:
    fdhold run --listen tcp::8080=web -- \
        sh -c 'while :; do fdhold get web -- ./server; done'

  run a program that expects systemd's socket activation:
    fdhold run --listen tcp::8080=web -- fdhold get --listen-fds web -- ./server`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRun(), newList(), newGet(), newPut(stdin))
	return root
}

// beforeDash splits arguments at the "--". The program must follow it.
func beforeDash(cmd *cobra.Command, args []string) (before, program []string, err error) {
	at := cmd.ArgsLenAtDash()
	if at < 0 || at == len(args) {
		return nil, nil, &exitError{exitUsage, fmt.Errorf("%s: write -- and the program to run at the end", cmd.Name())}
	}
	return args[:at], args[at:], nil
}
