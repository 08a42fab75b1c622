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
	// messageBytes is the kernel memory of a message, measured on Linux 6.18 and
	// rounded up.
	messageBytes = 5 << 10

	// decideAt is the message at which a store reads the memory limits, so that small
	// stores do not pay for it.
	decideAt = 1024
)

// checkMost returns an error if the store may not have a message with this ID.
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
		why = "Options.MaxMessages allows no more"
	}
	return fmt.Errorf("%w: it has %d messages; %s", ErrFull, id, why)
}

// mostMessages returns how many messages the memory limits of this process allow, -1 if
// there is no limit, and the text that explains it.
func mostMessages(root fs.FS) (most int, why string) {
	limit, of := memoryLimit(root)
	if of == "" {
		return -1, ""
	}
	most = int(min(limit/2/messageBytes, math.MaxInt32))
	return max(most, 1), fmt.Sprintf("they take half of the %d bytes of %s (set Options.MaxMessages to allow more)", limit, of)
}

// memoryLimit returns the lowest limit of the memory cgroups that this process is
// in, and the file that says so, "" if there is none: see cgroups(7).
func memoryLimit(root fs.FS) (limit uint64, of string) {
	limit = math.MaxInt64 // version 1 has about this value for no limit
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

// readLimit reports false if the file does not exist or contains "max".
func readLimit(root fs.FS, file string) (uint64, bool) {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	// In version 1 the highest multiple of a page means no limit.
	return n, err == nil && n < math.MaxInt64-1<<20
}
