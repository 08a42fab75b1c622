package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var mounts = []struct{ source, target, kind, data string }{
	{"proc", "/proc", "proc", ""},
	{"sysfs", "/sys", "sysfs", ""},
	{"devtmpfs", "/dev", "devtmpfs", ""},
	{"devpts", "/dev/pts", "devpts", "ptmxmode=0666,mode=0620,gid=5"},
	{"tmpfs", "/dev/shm", "tmpfs", "mode=1777"},
	{"tmpfs", "/tmp", "tmpfs", "mode=1777"},
	{"tmpfs", "/run", "tmpfs", "mode=0755"},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", ""},
}

// setUp mounts file systems and configures the machine.
func setUp() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, "/dev/"+name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	// A cgroup below the root can limit memory only if its parent allows it.
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+memory +pids"), 0o644); err != nil {
		return err
	}
	// The first cgroup with a memory controller makes the kernel change its code. The
	// emulator handles that best while nothing else runs. See miscompiled in test/vm.
	if err := os.Mkdir("/sys/fs/cgroup/first", 0o755); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("regrow-vm")); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	for name, value := range map[string]string{"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "USER": "root", "TERM": "linux"} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	unix.Umask(0o022)
	if err := loadModules(); err != nil {
		return err
	}
	return loopbackUp()
}

// loadModules loads the modules that there are for this kernel.
func loadModules() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return os.NewSyscallError("uname", err)
	}
	files, err := filepath.Glob("/lib/modules/" + unix.ByteSliceToString(name.Release[:]) + "/*.ko*")
	if err != nil {
		return err
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		flags := 0
		if filepath.Ext(path) != ".ko" {
			flags = unix.MODULE_INIT_COMPRESSED_FILE // since Linux 5.17
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("module %s: %w", path, err)
		}
	}
	return nil
}

// loopbackUp brings up the interface lo, which adds its addresses.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return os.NewSyscallError("ioctl(SIOCSIFFLAGS)", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo))
}
