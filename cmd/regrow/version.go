package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"regrow/tasktree"
)

// versionLine returns the version of regrow as far as the build records it: module
// version or commit, Go release, and the version of descriptions.
func versionLine() string {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && version == "(devel)" {
				version = s.Value
			}
		}
	}
	return fmt.Sprintf("regrow %s (description version %d, %s, %s/%s)",
		version, tasktree.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
