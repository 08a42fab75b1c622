package runner

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// exitCode gives the status, as wait(2) has it, of the process of a pidfd that was waited
// for. Since Linux 6.15.
func exitCode(pidfd int) (int, error) {
	const (
		getInfo = 0xC040FF0B // PIDFD_GET_INFO of include/uapi/linux/pidfd.h
		exit    = 1 << 3     // PIDFD_INFO_EXIT
	)
	info := struct {
		mask, cgroup uint64
		ids          [11]uint32
		code         int32
	}{mask: exit}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), getInfo, uintptr(unsafe.Pointer(&info))); e != 0 {
		return 0, e
	}
	if info.mask&exit == 0 {
		return 0, unix.ENODATA
	}
	return int(info.code), nil
}
