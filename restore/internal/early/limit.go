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

// Files gives the soft and the hard RLIMIT_NOFILE that the process was started
// with. The call cannot fail on Linux 2.6.36 and newer; if a sandbox refuses it
// all the same, both are 1024, the kernel's own start value.
func Files() (soft, hard uint64) {
	if errno != 0 {
		const kernelDefault = 1024 // INR_OPEN_CUR
		return kernelDefault, kernelDefault
	}
	return files[0], files[1]
}
