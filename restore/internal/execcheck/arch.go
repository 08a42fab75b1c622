package execcheck

import "runtime"

// Native returns the machine for which this program is built.
func Native(page int) Arch {
	arch := AMD64
	if runtime.GOARCH == "arm64" {
		arch = ARM64
	}
	arch.Page = page
	return arch
}
