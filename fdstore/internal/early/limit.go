package early

// Files gives the soft and the hard RLIMIT_NOFILE that the process was started
// with. known is false where that cannot be read: a sandbox refuses the call, or this
// is neither amd64 nor arm64. Then both are 1024, the kernel's own start value.
func Files() (soft, hard uint64, known bool) {
	if errno != 0 {
		const kernelDefault = 1024 // INR_OPEN_CUR
		return kernelDefault, kernelDefault, false
	}
	return files[0], files[1], true
}
