//go:build linux && (amd64 || arm64)

package early

// files holds soft and hard RLIMIT_NOFILE as they were at the start, errno what
// the kernel answered.
var (
	files [2]uint64
	errno = getrlimitFiles(&files)
)

// getrlimitFiles is prlimit64(0, RLIMIT_NOFILE, NULL, lim). It gives the errno.
//
//go:noescape
func getrlimitFiles(lim *[2]uint64) uintptr
