package execcheck

import "runtime"

// Native gives the machine that this program is built for.
func Native(page int) Arch {
	arch := AMD64
	if runtime.GOARCH == "arm64" {
		arch = ARM64
	}
	arch.Page = page
	return arch
}
