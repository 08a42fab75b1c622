package inflight

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// heldEnv tells the test binaries that tests start, themselves again mostly, that the
// lock is held for them: they neither wait nor have a descriptor more.
const heldEnv = "REGROW_TEST_IN_FLIGHT_HELD"

// Many waits until nobody else counts on the allowance, and keeps it. The caller
// calls release when its tests have ended; its own end does so, too.
func Many() (release func(), err error) { return take(unix.LOCK_EX) }

// Some waits until nobody takes the whole allowance. Several may have some.
func Some() (release func(), err error) { return take(unix.LOCK_SH) }

// Run runs tests under what [Many] or [Some] give, for a TestMain, and gives their status.
func Run(take func() (release func(), err error), tests func() int) int {
	release, err := take()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer release()
	return tests()
}

// take locks the module's go.mod, which every test of one checkout can open.
func take(how int) (release func(), err error) {
	if os.Getenv(heldEnv) != "" {
		return func() {}, nil
	}
	path, err := modFile()
	if err != nil {
		return nil, err
	}
	if release, err = lock(path, how); err != nil {
		return nil, err
	}
	return release, os.Setenv(heldEnv, "1")
}

// modFile finds go.mod in this folder or above it.
func modFile() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, "go.mod")
		switch _, err := os.Stat(path); {
		case err == nil:
			return path, nil
		case !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir):
			return "", fmt.Errorf("find go.mod: %w", err)
		}
		dir = filepath.Dir(dir)
	}
}

// lock takes a lock on a file, see flock(2).
func lock(path string, how int) (release func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { _ = f.Close() }, nil
}
