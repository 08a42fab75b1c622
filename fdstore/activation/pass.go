package activation

import (
	"fmt"
	"os/exec"
)

// Receive takes over the files that the service manager has passed to this process, in
// their order. It unsets the variables, so that no child uses them. The caller closes
// the files; they are close-on-exec. It returns no files and no error if none were
// passed, if they are for another process, or if Receive was called before.
//
// Call it early, and in only one library of a program. A file without a name has the name
// [Unknown]; a file that was stored in the manager without a name has the name "stored".
// Names need not be unique.
//
// Errors: [ErrEnvironment]; the descriptors then stay open, and some of them may have
// been made close-on-exec.
func Receive() ([]File, error) {
	files, err := receive()
	if err != nil {
		return nil, fmt.Errorf("activation: receive: %w", err)
	}
	return files, nil
}

// Init checks whether this process was started by a [Command]. If so, it becomes the
// command's program and does not return. Call it at the start of main, before parsing
// flags and opening files. In any other process it only records that it was called. If
// the program cannot be executed, the process ends with a message on standard error, and
// with status 127 if the program does not exist, else 126.
//
// It does nothing in a process that got rights by its exec: see [ErrPrivileged].
func Init() { initProcess() }

// Command makes a command pass files as a service manager does: at numbers from [First]
// on, with the variables of the protocol. LISTEN_PID and, if the kernel supports it,
// LISTEN_PIDFDID are those of the child. Call it before cmd.Start and after setting
// cmd.Env, if at all; add other ExtraFiles afterwards. It borrows the files until Start
// has returned.
//
// The child first runs this program, which calls [Init]. It must be able to execute
// /proc/self/exe with the attributes of cmd.SysProcAttr: a Chroot needs a /proc.
//
// Errors: [ErrNoInit], [ErrPrivileged], [ErrExtraFiles], [ErrBadName], [os.ErrInvalid] for a nil
// file, or cmd.Err; cmd is then unchanged.
func Command(cmd *exec.Cmd, files ...File) error {
	if err := command(cmd, files); err != nil {
		return fmt.Errorf("activation: command %s: %w", cmd.Path, err)
	}
	return nil
}

// Exec becomes another program and passes files to it as a service manager does. It
// returns only with an error. path is not looked up in PATH, args begin with the
// program's name, and a nil env means that of this process. It borrows the files. Like
// execve(2) it keeps the pid, so it does not need [Init].
//
// Errors: [ErrBadName], and those of execfd.Exec.
func Exec(path string, args, env []string, files ...File) error {
	if err := become(path, args, env, files); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	return nil
}
