package e2e

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plainEnv makes the test binary a program that runs another one with the usual action
// for every signal.
const plainEnv = "REGROW_TEST_PLAIN_SIGNALS"

// plain becomes args. It returns only if that fails.
func plain(_ string, args []string) error {
	if err := os.Unsetenv(plainEnv); err != nil {
		return err
	}
	var usual [8]uint64 // SIG_DFL, no flags
	for sig := uintptr(1); sig <= 64; sig++ {
		// SIGKILL and SIGSTOP have no other, and are refused.
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&usual)), 0, 8, 0, 0)
	}
	return unix.Exec(args[0], args, os.Environ())
}

// withPlainSignals is a line of shell that runs what comes after it with the usual
// action for every signal. That is more than env --default-signal: what make starts
// ignores 32 and 33, which the C library keeps for itself (posix_spawn in glibc 2.36).
func withPlainSignals(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("export %s=1; exec %q \"$0\" \"$@\"", plainEnv, self(t))
}
