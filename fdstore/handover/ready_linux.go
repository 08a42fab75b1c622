package handover

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// takeReady takes over the end of the pipe at which the generation before waits.
func takeReady() (*os.File, error) {
	text, ok := os.LookupEnv(EnvReady)
	if !ok {
		return nil, nil //nolint:nilnil // nobody waits
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 0 {
		return nil, fmt.Errorf("%s=%q is no descriptor", EnvReady, text)
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("%s=%s: descriptor %d is no pipe", EnvReady, text, fd)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "ready"), os.Unsetenv(EnvReady)
}
