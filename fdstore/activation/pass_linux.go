package activation

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"regrow/fdstore/execfd"
)

// programEnv is the variable that names the program which a child must become.
const programEnv = "FDSTORE_ACTIVATION_PROGRAM"

// initialized is set by Init. A child of a program that does not call Init would not
// become the command's program.
var initialized atomic.Bool

func initProcess() {
	initialized.Store(true)
	path, ok := os.LookupEnv(programEnv)
	if !ok || privileged() {
		return
	}
	env := make([]string, 0, len(os.Environ())+1)
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); name != programEnv && name != listenPID && name != listenPIDFDID {
			env = append(env, entry)
		}
	}
	// The files are at their numbers already, and execve keeps the pid.
	err := unix.Exec(path, os.Args, append(env, identity()...))
	fmt.Fprintf(os.Stderr, "activation: exec %s: %v\n", path, err)
	status := 126
	if errors.Is(err, os.ErrNotExist) {
		status = 127
	}
	os.Exit(status) //nolint:forbidigo // this process was started only to become the program
}

// privileged reports whether this process got rights by its exec (set-user-ID, file
// capabilities). Then its environment is not trusted, and must not decide which program
// it executes.
func privileged() bool {
	const atSecure = 23
	auxv, err := unix.Auxv()
	if err != nil {
		return true
	}
	for _, entry := range auxv {
		if entry[0] == atSecure {
			return entry[1] != 0
		}
	}
	return true
}

// identity returns the variables that address the files to this process, also after
// execve.
func identity() []string {
	env := []string{listenPID + "=" + strconv.Itoa(os.Getpid())}
	if id, ok := pidfdID(); ok {
		env = append(env, listenPIDFDID+"="+strconv.FormatUint(id, 10))
	}
	return env
}

// environment returns env without the variables of this process's own manager, and with
// LISTEN_FDS and LISTEN_FDNAMES for files.
func environment(env []string, files []File) ([]string, error) {
	names, err := joinNames(files)
	if err != nil {
		return nil, err
	}
	if env == nil {
		env = os.Environ()
	}
	out := make([]string, 0, len(env)+5)
	for _, entry := range env {
		if !isListen(entry) {
			out = append(out, entry)
		}
	}
	if len(files) > 0 {
		out = append(out, listenFDs+"="+strconv.Itoa(len(files)), listenFDNames+"="+names)
	}
	return out, nil
}

func command(cmd *exec.Cmd, files []File) error {
	switch {
	case !initialized.Load():
		return ErrNoInit
	case privileged():
		return ErrPrivileged
	case len(cmd.ExtraFiles) > 0:
		return ErrExtraFiles
	case cmd.Process != nil:
		return errors.New("the command was started already")
	case cmd.Err != nil: // not found in PATH
		return cmd.Err
	}
	env, err := environment(cmd.Env, files)
	if err != nil || len(files) == 0 {
		cmd.Env = env
		return err
	}
	cmd.Env = append(env, programEnv+"="+cmd.Path)
	cmd.Path = "/proc/self/exe"
	for _, f := range files {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f.File)
	}
	return nil
}

func become(path string, args, env []string, files []File) error {
	env, err := environment(env, files)
	if err != nil {
		return err
	}
	at := map[int]*os.File{}
	for i, f := range files {
		at[First+i] = f.File
	}
	if len(files) > 0 {
		env = append(env, identity()...)
	}
	return execfd.Exec(execfd.Program{Path: path, Args: args, Env: env, Files: at})
}
