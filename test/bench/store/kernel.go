package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"

	"regrow/fdstore"
)

// memory returns the kernel memory of a message, by the growth of all slabs of the machine,
// to which other programs contribute, too.
func memory(p *pool, n int) (float64, int, error) {
	before, err := slab()
	if err != nil {
		return 0, 0, err
	}
	s, err := filled(p, n, fdstore.Nested)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = s.Close() }()
	after, err := slab()
	return float64(after-before) / float64(n), 0, err
}

var slabLine = regexp.MustCompile(`(?m)^Slab:\s+(\d+) kB$`)

func slab() (bytes int64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	m := slabLine.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("/proc/meminfo says nothing of Slab")
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	return kib << 10, err
}

// openFDs counts the descriptors of this process.
func openFDs() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		exit(err)
	}
	return len(entries)
}
