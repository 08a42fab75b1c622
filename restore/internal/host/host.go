package host

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/fdstore/execfd"
	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/safepath"
)

// ThisHost reads the attributes of the calling process. With an error, which is
// that /proc cannot be read, only Ignored is missing.
func ThisHost() (plan.Host, error) {
	h := plan.Host{Environ: os.Environ(), UID: os.Geteuid(), GID: os.Getegid(), OldOpen: !safepath.HasOpenat2(), OldClone: !postfork.HasClone3(), Processors: runtime.GOMAXPROCS(0)}
	h.SoftFiles, h.HardFiles, _ = execfd.StartLimit()
	h.PipesLimited, h.ExecSealed = pipesLimited(), execSealed()
	if cwd, err := unix.Getwd(); err == nil && strings.HasPrefix(cwd, "/") {
		h.Cwd = cwd
	}
	ignored, err := proc.SignalMask(proc.Caller, "SigIgn")
	if err != nil {
		return h, fmt.Errorf("restore: %w (is /proc mounted?)", err)
	}
	h.Ignored = ignored
	return h, nil
}

// pipesLimited reports whether the limits of a user's pipes bind this process: they
// do without CAP_SYS_RESOURCE and CAP_SYS_ADMIN in the first user namespace.
func pipesLimited() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	const either = 1<<unix.CAP_SYS_RESOURCE | 1<<unix.CAP_SYS_ADMIN // both below 32
	return unix.Capget(&header, &data[0]) != nil || data[0].Effective&either == 0 || !proc.InFirstUserNamespace()
}

// execSealed reports whether memfd_create(2) takes MFD_NOEXEC_SEAL, since Linux 6.3.
func execSealed() bool {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}
