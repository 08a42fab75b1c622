//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// sendError explains the errno of a sendmsg(2) with fds.
func sendError(err error, to int, w wire.Word, fds []int) error {
	call := os.NewSyscallError("sendmsg", err)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%w: %d messages fill the send buffer of %s bytes (net.core.wmem_max is %s; CAP_NET_ADMIN lifts it): %w",
			ErrFull, uint32(w), sendBuffer(to), sysctl("net/core/wmem_max"), call)
	case errors.Is(err, unix.ETOOMANYREFS):
		return fmt.Errorf("%w: the limit for one user is the soft RLIMIT_NOFILE, here %s (raise it with ulimit -n; CAP_SYS_RESOURCE lifts it): %w", ErrInFlight, softNoFile(), call)
	case errors.Is(err, unix.EPIPE):
		return fmt.Errorf("%w: %w", ErrSealed, call)
	case errors.Is(err, unix.EBADF):
		return firstBad(fds, notOpen, call)
	case errors.Is(err, unix.EINVAL):
		return firstBad(fds, isRing, fmt.Errorf("%w: %w", ErrCannotSend, call))
	}
	return call
}

// firstBad makes err a FileError of the first descriptor for which bad is true, because
// the kernel does not tell which one it refused. It returns err if bad is true for none.
func firstBad(fds []int, bad func(fd int) bool, err error) error {
	for i, fd := range fds {
		if bad(fd) {
			return &FileError{i, len(fds), fd, err}
		}
	}
	return err
}

func notOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return errors.Is(err, unix.EBADF)
}

func isRing(fd int) bool {
	target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err == nil && target == "anon_inode:[io_uring]"
}

func sendBuffer(fd int) string {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return "unknown size"
	}
	return strconv.Itoa(n)
}

// softFiles returns the soft RLIMIT_NOFILE of this process.
func softFiles() (uint64, error) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return r.Cur, err
}

func softNoFile() string {
	switch n, err := softFiles(); {
	case err != nil:
		return "unknown"
	case n > math.MaxInt64: // RLIM_INFINITY
		return "unlimited"
	default:
		return strconv.FormatUint(n, 10)
	}
}

// sysctl returns a sysctl's value for an error text. On some kernels network sysctls
// exist only in the initial network namespace.
func sysctl(path string) string {
	b, err := os.ReadFile("/proc/sys/" + path)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
