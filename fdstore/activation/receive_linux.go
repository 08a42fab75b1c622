package activation

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// receiving is held while the environment is read and unset.
var receiving sync.Mutex

func receive() ([]File, error) {
	receiving.Lock()
	defer receiving.Unlock()
	defer unsetListen()
	ours, err := meansUs()
	if err != nil || !ours {
		return nil, err
	}
	text, ok := os.LookupEnv(listenFDs)
	if !ok {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || n > math.MaxInt32-First {
		return nil, fmt.Errorf("%w: %s=%q is not a number of files", ErrEnvironment, listenFDs, text)
	}
	for fd := First; fd < First+n; fd++ {
		if err := takeOver(fd); err != nil {
			return nil, err
		}
	}
	names, err := readNames(n)
	if err != nil {
		return nil, err
	}
	files := make([]File, n)
	for i := range files {
		files[i] = File{names[i], os.NewFile(uintptr(First+i), names[i])}
	}
	return files, nil
}

// meansUs reports whether the files are for this process, and not for an ancestor whose
// environment it has inherited.
func meansUs() (bool, error) {
	text, ok := os.LookupEnv(listenPID)
	if !ok {
		return false, nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return false, fmt.Errorf("%w: %s=%q is not a pid", ErrEnvironment, listenPID, text)
	}
	if pid != os.Getpid() {
		return false, nil
	}
	text, ok = os.LookupEnv(listenPIDFDID)
	if !ok {
		return true, nil
	}
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return false, fmt.Errorf("%w: %s=%q is not the inode number of a pidfd", ErrEnvironment, listenPIDFDID, text)
	}
	own, ok := pidfdID()
	return !ok || id == own, nil
}

// pidfdID returns the inode number of this process's pidfds. ok is false if the number
// is not unique: it is on pidfs, since Linux 6.9, on machines with inode numbers of 64
// bits.
func pidfdID() (id uint64, ok bool) {
	const pidfsMagic = 0x50494446 // PID_FS_MAGIC of linux/magic.h
	if strconv.IntSize < 64 {
		return 0, false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != pidfsMagic || unix.Fstat(fd, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}

// takeOver makes a passed descriptor close-on-exec. A descriptor that is close-on-exec
// already was not inherited: this process has opened it, and it belongs to other code.
func takeOver(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	switch {
	case err != nil:
		return fmt.Errorf("%w: descriptor %d: %w", ErrEnvironment, fd, os.NewSyscallError("fcntl F_GETFD", err))
	case flags&unix.FD_CLOEXEC != 0:
		return fmt.Errorf("%w: descriptor %d was opened by this process, or received already", ErrEnvironment, fd)
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC)
	return os.NewSyscallError("fcntl F_SETFD", err)
}

func duplicate(fd int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}

func readNames(n int) ([]string, error) {
	text, ok := os.LookupEnv(listenFDNames)
	if !ok {
		return strings.Split(strings.Repeat(Unknown+":", n-1)+Unknown, ":"), nil
	}
	names := strings.Split(text, ":")
	if len(names) != n {
		return nil, fmt.Errorf("%w: %s has %d names for %d files", ErrEnvironment, listenFDNames, len(names), n)
	}
	return names, nil
}

func unsetListen() {
	for _, name := range []string{listenPID, listenPIDFDID, listenFDs, listenFDNames} {
		_ = os.Unsetenv(name) // it fails only for an invalid name
	}
}
