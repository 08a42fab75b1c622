package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"regrow/fdstore"
	"regrow/fdstore/activation"
	"regrow/fdstore/execfd"
)

// getOptions are the flags of get.
type getOptions struct {
	first     int
	keep      bool
	listenFDs bool
}

func newGet() *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use:   "get [flags] NAME... -- PROGRAM [ARG...]",
		Short: "Become a program that has files of the store",
		Long: `get gets files from the store by their names and becomes a program that has the
first of them as descriptor 3, or N, and the others at the numbers after it. If
several files were stored under a name, the program has all of them. The files
stay in the store.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			names, program, err := beforeDash(cmd, args)
			switch {
			case err != nil:
				return err
			case len(names) == 0:
				return &exitError{exitUsage, errors.New("get: write the name of a file before the --")}
			case o.first < 0:
				return &exitError{exitUsage, fmt.Errorf("get: --fd %d: descriptors begin with 0", o.first)}
			case o.listenFDs && (o.first != activation.First || o.keep):
				return &exitError{exitUsage, fmt.Errorf("get: --listen-fds passes files from descriptor %d on and no store; leave out --fd and --keep", activation.First)}
			}
			return o.get(names, program)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.first, "fd", activation.First, "descriptor of the first file")
	flags.BoolVar(&o.keep, "keep", false, "pass the store to the program, too")
	flags.BoolVar(&o.listenFDs, "listen-fds", false, "set LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID, as systemd does")
	return cmd
}

// get becomes the program. It returns only with an error.
func (o getOptions) get(names, program []string) error {
	path, err := findProgram(program[0])
	if err != nil {
		return err
	}
	s, err := inherited()
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("get: %w", err)}
	}
	files, err := takeAll(s, names)
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("get: %w", err)}
	}
	door, doorErr := findDoor(s.Number()) // close-on-exec from here on
	env := withoutHold(os.Environ())
	if o.listenFDs {
		return execError(activation.Exec(path, program, env, files...))
	}
	at := map[int]*os.File{}
	next := o.first
	for _, f := range files {
		at[next] = f.File
		next++
	}
	if o.keep {
		root, err := s.File()
		if err != nil {
			return &exitError{exitFailed, fmt.Errorf("get: %w", err)}
		}
		at[next] = root
		env = append(env, storeAt(next, s))
		if doorErr == nil {
			at[next+1] = os.NewFile(uintptr(door), "door")
			env = append(env, doorAt(next+1, s.Number()))
		}
	}
	return execError(execfd.Exec(execfd.Program{Path: path, Args: program, Env: env, Files: at}))
}

// takeAll gets all files that were stored under some names, in the order of the names.
func takeAll(s *fdstore.Store, names []string) ([]activation.File, error) {
	var files []activation.File
	for _, name := range names {
		id, err := s.Lookup(name)
		if err != nil {
			return nil, err
		}
		fds, err := s.GetFDs(id, nil)
		if err != nil {
			return nil, err
		}
		for i, fd := range fds {
			// A non-blocking file stays non-blocking: for Go it is a polled file.
			files = append(files, activation.File{Name: name, File: os.NewFile(uintptr(fd), name+"."+strconv.Itoa(i))})
		}
	}
	return files, nil
}

// withoutHold returns an environment without the variables that name store and door,
// which the program does not have.
func withoutHold(env []string) []string {
	var out []string
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		if name != envDoor && name != fdstore.EnvRoot {
			out = append(out, entry)
		}
	}
	return out
}
