//go:build linux && (amd64 || arm64)

package early

// files is the soft and the hard RLIMIT_NOFILE at the start of the process, errno the
// error of the call.
var (
	files [2]uint64
	errno = getrlimitFiles(&files)
)

// getrlimitFiles is prlimit64(0, RLIMIT_NOFILE, NULL, lim). It returns the errno.
//
//go:noescape
func getrlimitFiles(lim *[2]uint64) uintptr
