package host

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/execcheck"
)

// miscEntries are the entries of binfmt_misc, by which the kernel may execute a file before
// it looks at the file's own format. They are only read if a program seems not to be
// executable.
type miscEntries struct {
	asked   bool
	entries []execcheck.Misc
	hidden  bool // there may be others
}

// mayTake reports whether an entry of binfmt_misc could have one of the files
// executed.
func (m *miscEntries) mayTake(seen []opened, arch execcheck.Arch) bool {
	if !m.asked {
		m.asked = true
		m.entries, m.hidden = askMisc()
	}
	for _, o := range seen {
		for _, e := range m.entries {
			if e.Takes(o.path, o.head) {
				return true
			}
		}
		if m.hidden && execcheck.Foreign(o.path, o.head, arch) {
			return true
		}
	}
	return false
}

// askMisc reads the enabled entries. hidden says that there may be others: the
// kernel has binfmt_misc, and it is not mounted here, as in most containers.
func askMisc() (entries []execcheck.Misc, hidden bool) {
	folder := proc.SysPath("fs/binfmt_misc")
	if _, err := os.Stat(folder + "/status"); err == nil {
		return readMisc(folder)
	}
	if has, err := proc.HasFilesystem("binfmt_misc"); err == nil && !has {
		return nil, false
	}
	mount, err := mountMisc()
	if err != nil {
		return nil, true
	}
	defer unix.Close(mount)
	return readMisc(proc.FDPath(proc.Caller, mount))
}

// mountMisc gives a mount of binfmt_misc that is in no folder. Only in the first
// user namespace: in another, a mount would give it entries of its own and hide the
// others (Linux 6.7).
func mountMisc() (int, error) {
	if !proc.InFirstUserNamespace() {
		return -1, unix.EPERM
	}
	fs, err := unix.Fsopen("binfmt_misc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, os.NewSyscallError("fsconfig", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	return fd, os.NewSyscallError("fsmount", err)
}

// readMisc reads the enabled entries of a binfmt_misc that is mounted on a folder.
func readMisc(folder string) (entries []execcheck.Misc, hidden bool) {
	status, err := os.ReadFile(folder + "/status")
	if err != nil {
		return nil, true
	}
	if strings.TrimSpace(string(status)) != "enabled" {
		return nil, false
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, true
	}
	for _, file := range files {
		if file.Name() == "status" || file.Name() == "register" {
			continue
		}
		text, err := os.ReadFile(folder + "/" + file.Name())
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return entries, true
		}
		if e, enabled := execcheck.ParseMisc(string(text)); enabled {
			entries = append(entries, e)
		}
	}
	return entries, false
}
