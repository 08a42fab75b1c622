//go:build !linux || !(amd64 || arm64)

package early

var files [2]uint64

const errno = 1
