package inflight

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Many waits until nobody else counts on the allowance, and keeps it. The caller
// calls release when its tests have ended; its own end does so, too.
func Many() (release func(), err error) { return lock(unix.LOCK_EX) }

// Some waits until nobody takes the whole allowance. Several may have some.
func Some() (release func(), err error) { return lock(unix.LOCK_SH) }

// heldEnv tells the test binaries that tests start, themselves again mostly, that the
// lock is held for them: they neither wait nor have a descriptor more.
const heldEnv = "REGROW_TEST_IN_FLIGHT_HELD"

// lock takes a lock on the module's go.mod, which every test of one checkout can open.
func lock(how int) (release func(), err error) {
	if os.Getenv(heldEnv) != "" {
		return func() {}, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		f, err := os.Open(filepath.Join(dir, "go.mod"))
		if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find go.mod: %w", err)
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
		return func() { _ = f.Close() }, os.Setenv(heldEnv, "1")
	}
}
