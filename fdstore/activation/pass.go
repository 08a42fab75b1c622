package activation

import (
	"fmt"
	"os/exec"
)

// Receive takes over the files that the service manager has passed to this
// process, in their order, and unsets the variables, so that no child believes
// them to be its own. The caller closes the files; they are close-on-exec. None,
// and no error, if nothing was passed, or to another process. So it is where
// Receive was called before.
//
// Call it early and where no other library does the same. Names may be missing,
// then they are [Unknown], and are not unique; a manager that gives back what
// was stored without a name says "stored".
//
// Errors: [ErrEnvironment]; the descriptors then stay open, those that were looked
// at are close-on-exec.
func Receive() ([]File, error) {
	files, err := receive()
	if err != nil {
		return nil, fmt.Errorf("activation: receive: %w", err)
	}
	return files, nil
}

// Init becomes the program that a [Command] is to start, and does not return, if
// this process was started for that. Call it first of all in main, before flags
// are looked at and files are opened. In any other process it only notes that it
// was called. A program that cannot be executed ends with a message on standard
// error and status 127 if it is not there, else 126.
//
// It does nothing in a process that got rights by its exec: see [ErrPrivileged].
func Init() { initProcess() }

// Command lets a command pass files as a service manager does, at numbers from
// [First] on, with the variables that the program looks for: LISTEN_PID and, where
// the kernel tells it, LISTEN_PIDFDID are the child's. Call it before cmd.Start and
// after cmd.Env was set, if it is; add other ExtraFiles afterwards. It borrows the
// files until Start has returned.
//
// The child is this program first, as [Init] says. It must be able to execute
// /proc/self/exe with the attributes of cmd.SysProcAttr: a Chroot needs a /proc.
//
// Errors: [ErrNoInit], [ErrPrivileged], [ErrExtraFiles], [ErrBadName], [os.ErrInvalid] for a file
// that is nil, or cmd.Err; cmd is then as it was.
func Command(cmd *exec.Cmd, files ...File) error {
	if err := command(cmd, files); err != nil {
		return fmt.Errorf("activation: command %s: %w", cmd.Path, err)
	}
	return nil
}

// Exec becomes another program, to which it passes files as a service manager
// does, and returns only if it cannot. path is not looked up in PATH, args begin
// with the program's name, an env of nil is that of this process. It borrows the
// files. Like execve(2) it keeps the pid, so it needs no [Init].
//
// Errors: [ErrBadName], and those of execfd.Exec.
func Exec(path string, args, env []string, files ...File) error {
	if err := become(path, args, env, files); err != nil {
		return fmt.Errorf("activation: %w", err)
	}
	return nil
}
