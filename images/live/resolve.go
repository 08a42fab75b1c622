package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// resolver follows symbolic links where no file's server is asked.
type resolver struct {
	mounts map[string]string // kinds of file systems, by mount point
	known  map[toResolve]resolved
}

type toResolve struct {
	path   string
	follow bool
}

type resolved struct {
	path string
	err  error
}

// own are the kinds of file systems that answer by themselves. Others have a server,
// which may be silent.
var own = []string{
	"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ramfs", "rootfs", "overlay", "devtmpfs", "devpts",
	"proc", "sysfs", "cgroup", "cgroup2", "squashfs", "iso9660", "vfat", "exfat", "erofs", "mqueue", "hugetlbfs", "zfs", "bcachefs",
}

// leads reports whether a path of a description is the one that the kernel shows. why
// says why nobody can tell.
func (r *resolver) leads(described, shown string) (same bool, why string) {
	if described == shown {
		return true, ""
	}
	for _, follow := range []bool{true, false} { // O_PATH|O_NOFOLLOW is the link itself
		what := toResolve{described, follow}
		got, ok := r.known[what]
		if !ok {
			got.path, got.err = r.resolve(described, follow)
			if r.known == nil {
				r.known = map[toResolve]resolved{}
			}
			r.known[what] = got
		}
		if got.path == shown {
			return true, ""
		}
		if got.err != nil {
			why = got.err.Error()
		}
	}
	return false, why
}

// resolve gives a path without symbolic links and dots, as far as that can be told: what
// is not there has none. follow says whether the last part is followed, too.
func (r *resolver) resolve(path string, follow bool) (string, error) {
	const most = 40 // links, as the kernel has it
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return path, err
		}
		path = wd + "/" + path
	}
	at, links := "", 0
	parts := strings.Split(path, "/")
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = at[:max(0, strings.LastIndexByte(at, '/'))]
			continue
		}
		next := at + "/" + part
		if kind := r.kind(next); !slices.Contains(own, kind) {
			return strings.Join(append([]string{next}, parts...), "/"), fmt.Errorf("the path %s leads through a file system of the kind %s, whose server might not answer", path, kind)
		}
		last := !slices.ContainsFunc(parts, func(p string) bool { return p != "" && p != "." })
		if last && !follow {
			at = next
			continue
		}
		var link [unix.PathMax]byte
		n, err := unix.Readlink(next, link[:])
		switch {
		case errors.Is(err, unix.EACCES):
			return next, &os.PathError{Op: "readlink", Path: next, Err: err}
		case err != nil: // no link, or nothing
			at = next
		case links == most:
			return next, &os.PathError{Op: "readlink", Path: next, Err: unix.ELOOP}
		default:
			links++
			to := string(link[:n])
			if filepath.IsAbs(to) {
				at = ""
			}
			parts = append(strings.Split(to, "/"), parts...)
		}
	}
	return max(at, "/"), nil
}

// kind gives the kind of the file system that a path without links is on.
func (r *resolver) kind(path string) string {
	if r.mounts == nil {
		r.mounts, _ = proc.MountKinds() // without them every kind is unknown
	}
	for {
		if kind, ok := r.mounts[path]; ok {
			return kind
		}
		if path == "/" {
			return "unknown"
		}
		path = max(path[:strings.LastIndexByte(path, '/')], "/")
	}
}
