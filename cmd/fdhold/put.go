package main

import (
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"
)

func newPut(stdin *os.File) *cobra.Command {
	fd := 0
	cmd := &cobra.Command{
		Use:   "put [--fd N] NAME",
		Short: "Put standard input, or descriptor N, into the store",
		Long: `put adds an open file to the store that fdhold run keeps: its standard input, as
the shell has opened it, or another descriptor. It prints the file's number in
the store.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := inherited()
			if err != nil {
				return &exitError{exitNo, fmt.Errorf("put %q: %w", args[0], err)}
			}
			defer func() { _ = s.Close() }() // the process ends
			door, err := findDoor(s.Number())
			if err == nil {
				if !cmd.Flags().Changed("fd") {
					fd = int(stdin.Fd())
				}
				var id string
				if id, err = sendThrough(door, s.Number(), args[0], fd); err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
				}
			}
			if err != nil {
				return &exitError{exitNo, fmt.Errorf("put %q: %w", args[0], err)}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&fd, "fd", 0, "the descriptor to put")
	return cmd
}

// borrowed is a descriptor as a [fdstore.File].
type borrowed int

// SyscallConn implements [syscall.Conn].
func (b borrowed) SyscallConn() (syscall.RawConn, error) { return b, nil }

// Control calls f with the descriptor.
func (b borrowed) Control(f func(fd uintptr)) error {
	f(uintptr(b))
	return nil
}

// Read is not supported.
func (b borrowed) Read(func(uintptr) bool) error { return syscall.ENOTSUP }

// Write is not supported.
func (b borrowed) Write(func(uintptr) bool) error { return syscall.ENOTSUP }
