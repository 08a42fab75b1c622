//go:build !cgo

package memory

const linksC = false
