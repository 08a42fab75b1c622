package handover

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// takeReady takes over the inherited end of the pipe to the previous generation.
func takeReady() (*os.File, error) {
	text, ok := os.LookupEnv(EnvReady)
	if !ok {
		return nil, nil //nolint:nilnil // there is no previous generation
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 0 {
		return nil, fmt.Errorf("%s=%q is not a descriptor number", EnvReady, text)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("%s=%s: descriptor %d is not a pipe", EnvReady, text, fd)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "ready"), os.Unsetenv(EnvReady)
}
