package proc

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ID is a process: not who has the number now, but who had it once. The zero ID is no
// process. IDs can be compared, and be the keys of a map.
type ID struct {
	PID   int    // its number in the caller's pid namespace
	Began uint64 // in clock ticks since boot, 100 a second: field 22 of proc_pid_stat(5)
}

// Of returns the process that has a number now. The error wraps [os.ErrNotExist] if
// there is none.
func Of(pid int) (ID, error) {
	s, err := Stat(pid)
	if err != nil {
		return ID{}, err
	}
	return s.ID, nil
}

// Exists reports whether the process has not been waited for yet. It may have ended.
func (id ID) Exists() bool {
	now, err := Of(id.PID)
	return err == nil && now == id
}

// Lives reports whether the process has not ended.
func (id ID) Lives() bool {
	s, err := Stat(id.PID)
	return err == nil && s.ID == id && !s.Ended()
}

// Signal sends a signal to the process, and to no other one. The error is ESRCH if it
// has been waited for, else that of pidfd_send_signal(2) or kill(2).
func (id ID) Signal(sig unix.Signal) error {
	err := id.byPIDFD(func(fd int) error {
		return os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(fd, sig, nil, 0))
	})
	if !refused(err) {
		return err
	}
	if !id.Exists() {
		return os.NewSyscallError("kill", unix.ESRCH)
	}
	return os.NewSyscallError("kill", unix.Kill(id.PID, sig))
}

// Reap takes the status of the process, a child of the caller's, if it has ended.
func (id ID) Reap() {
	err := id.byPIDFD(func(fd int) error { return wait(unix.P_PIDFD, fd) })
	if refused(err) && id.Exists() {
		_ = wait(unix.P_PID, id.PID)
	}
}

func wait(kind, number int) error {
	for {
		err := unix.Waitid(kind, number, nil, unix.WEXITED|unix.WNOHANG, nil)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("waitid", err)
		}
	}
}

// byPIDFD calls do with a pidfd of the process. The number may be another's by the time
// the pidfd is opened, so they are compared when it can be no other one's any more.
func (id ID) byPIDFD(do func(fd int) error) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !id.Exists() {
		return os.NewSyscallError("pidfd_open", unix.ESRCH)
	}
	return do(fd)
}

// refused reports whether the kernel, a sandbox or a full table keeps pidfds from this
// process. EPERM may be that of the signal, which the number then meets, too. EINVAL: a
// kernel before 5.4 knows no P_PIDFD.
func refused(err error) bool {
	for _, no := range []unix.Errno{unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EINVAL, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENODEV} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// ErrForeign says that /proc belongs to another pid namespace than the caller's.
var ErrForeign = errors.New("/proc belongs to another pid namespace")

// ErrNoChildren says that /proc does not list the children of a process.
var ErrNoChildren = errors.New("this kernel was built without CONFIG_PROC_CHILDREN")

// Self returns the calling process. The error is [ErrForeign], or says that /proc is not
// there.
func Self() (ID, error) {
	if err := here(); err != nil {
		return ID{}, err
	}
	return Of(os.Getpid())
}

// Usable reports, by its error, what this package cannot do without: that /proc is there,
// is the one of the caller's pid namespace ([ErrForeign]), and lists children
// ([ErrNoChildren]; since Linux 3.5, always since 4.2 with CONFIG_PROC_CHILDREN).
func Usable() error {
	if err := here(); err != nil {
		return err
	}
	_, err := again(func() (int, error) { return 0, unix.Access(root+"/thread-self/children", unix.R_OK) })
	if errors.Is(err, unix.ENOENT) {
		return ErrNoChildren
	}
	return err
}

// here returns an error unless /proc is that of this pid namespace.
func here() error {
	link, err := os.Readlink(folder(Caller))
	if err == nil && link != strconv.Itoa(os.Getpid()) {
		err = ErrForeign
	}
	return err
}
