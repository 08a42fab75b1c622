//go:build !linux

package handover

import "os"

// takeReady is never called: stores exist only on Linux.
func takeReady() (*os.File, error) { return nil, nil }
