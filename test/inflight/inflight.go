package inflight

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// heldEnv is set for test binaries that tests start: the lock is already held for them, so
// they neither wait nor open a descriptor.
const heldEnv = "REGROW_TEST_IN_FLIGHT_HELD"

// Many waits until no other process uses the limit, and reserves all of it. The caller calls
// release when its tests have ended; the end of the process releases it, too.
func Many() (release func(), err error) { return take(unix.LOCK_EX) }

// Some waits until no process reserves the whole limit. Several processes may call Some at
// the same time.
func Some() (release func(), err error) { return take(unix.LOCK_SH) }

// Run runs tests under [Many] or [Some], for a TestMain, and returns their status.
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

// modFile returns the go.mod of this folder or of a parent.
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
