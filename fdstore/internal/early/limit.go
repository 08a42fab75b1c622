package early

// Files returns the soft and the hard RLIMIT_NOFILE with which the process was started.
// known is false if they cannot be read: a sandbox refuses the call, or the processor is
// neither amd64 nor arm64. Then both are 1024, the kernel's initial value.
func Files() (soft, hard uint64, known bool) {
	if errno != 0 {
		const kernelDefault = 1024 // INR_OPEN_CUR
		return kernelDefault, kernelDefault, false
	}
	return files[0], files[1], true
}
