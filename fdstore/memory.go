//go:build linux

package fdstore

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

const (
	// messageBytes is the kernel memory that a message takes, measured on Linux
	// 6.18, and a little more.
	messageBytes = 5 << 10

	// decideAt is the message at which a store looks for a memory limit: small
	// stores need not pay for the reading of some files.
	decideAt = 1024
)

// checkMost says whether a store may have a message with this number, from 0.
// Preconditions: writer.mu is held.
func (w *writer) checkMost(id int) error {
	if w.most == 0 && id >= decideAt {
		w.most, w.why = mostMessages(os.DirFS("/"))
	}
	if w.most <= 0 || id < w.most {
		return nil
	}
	why := w.why
	if why == "" {
		why = "Options.MaxMessages"
	}
	return fmt.Errorf("%w: it holds %d messages: %s", ErrFull, id, why)
}

// mostMessages returns how many messages the memory limits of this process have room
// for, -1 if there is none, and why.
func mostMessages(root fs.FS) (most int, why string) {
	limit, of := memoryLimit(root)
	if of == "" {
		return -1, ""
	}
	most = int(min(limit/2/messageBytes, math.MaxInt32))
	return max(most, 1), fmt.Sprintf("that takes half of the %d bytes of %s (Options.MaxMessages allows more)", limit, of)
}

// memoryLimit returns the lowest limit of the memory cgroups that this process is
// in, and the file that says so, "" if there is none: see cgroups(7).
func memoryLimit(root fs.FS) (limit uint64, of string) {
	limit = math.MaxInt64 // version 1 says about as much for none
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, ""
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		top, name := "sys/fs/cgroup", "memory.max"
		switch {
		case fields[0] == "0" && fields[1] == "": // version 2
		case strings.Contains(","+fields[1]+",", ",memory,"):
			top, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + fields[2]); ; dir = path.Dir(dir) {
			file := path.Join(top, dir, name)
			if n, ok := readLimit(root, file); ok && n < limit {
				limit, of = n, "/"+file
			}
			if dir == "/" {
				break
			}
		}
	}
	return limit, of
}

// readLimit reports false for a file that is not there or says max.
func readLimit(root fs.FS, file string) (uint64, bool) {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	// Version 1's "none" is the highest multiple of a page.
	return n, err == nil && n < math.MaxInt64-1<<20
}
