package prepare

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/safepath"
)

// truncate cuts a regular file; O_TRUNC has no effect on others.
func truncate(fd int) error {
	regular, err := truncates(fd)
	if err != nil || !regular {
		return err
	}
	return safepath.IgnoringEINTR(func() error { return unix.Ftruncate(fd, 0) })
}

// truncates reports whether a file is one that O_TRUNC cuts, and an error if the
// kernel would refuse that: append-only and immutable files, and memory files sealed
// against shrinking.
func truncates(fd int) (bool, error) {
	var st unix.Statx_t
	err := safepath.IgnoringEINTR(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE|unix.STATX_SIZE, &st)
	})
	switch {
	case err != nil:
		return false, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, nil
	case st.Attributes&(unix.STATX_ATTR_APPEND|unix.STATX_ATTR_IMMUTABLE) != 0:
		return false, unix.EPERM
	}
	// EINVAL: no file that has seals.
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil && seals&unix.F_SEAL_SHRINK != 0 && st.Size > 0 {
		return false, unix.EPERM
	}
	return true, nil
}
