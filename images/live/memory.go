package live

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree/kind"
)

// memoryMounts are the mounts of the kernel's own on which memory files are, by the size
// of a huge page, 0 for usual ones. A file elsewhere may be called like one, and have a
// server that never answers.
type memoryMounts map[int64]mountID

// mountID tells one mount from others.
type mountID struct {
	mount        uint64
	major, minor uint32
}

func placeOf(st *unix.Statx_t) mountID { return mountID{st.Mnt_id, st.Dev_major, st.Dev_minor} }

// is reports whether an open file is a memory file, and the size of its huge pages.
func (m *memoryMounts) is(c *class) (hugePage int64, ok bool) {
	if c.stat.Mode&unix.S_IFMT != unix.S_IFREG || !strings.HasPrefix(c.link, "/memfd:") {
		return 0, false
	}
	for _, size := range []int64{0, int64(c.stat.Blksize)} {
		if there, known := m.of(size); known && there == placeOf(&c.stat) {
			return size, true
		}
	}
	return 0, false
}

// of gives the mount for a size of pages, by a file of our own.
func (m *memoryMounts) of(size int64) (mountID, bool) {
	if at, known := (*m)[size]; known {
		return at, at != mountID{}
	}
	if *m == nil {
		*m = memoryMounts{}
	}
	(*m)[size] = mountID{}
	flags := unix.MFD_CLOEXEC
	if size > 0 {
		flags |= unix.MFD_HUGETLB | bits.TrailingZeros64(uint64(size))<<unix.MFD_HUGE_SHIFT
	}
	fd, err := unix.MemfdCreate("regrow", flags)
	if err != nil {
		return mountID{}, false
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if proc.Statx(proc.Caller, fd, &st) != nil {
		return mountID{}, false
	}
	(*m)[size] = placeOf(&st)
	return placeOf(&st), true
}

// Extents implements [kind.LiveCopy].
func (c *liveCopy) Extents(most int64) (all []kind.LiveExtent, err error) {
	// Another open file has an offset of its own; reading by it leaves the time of the
	// last read.
	fd, err := unix.Open(proc.FDPath(proc.Caller, c.fd), unix.O_RDONLY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("it cannot be opened to be read: %w", err)
	}
	defer unix.Close(fd)
	for at := int64(0); ; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // a hole up to the end
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("lseek(SEEK_DATA): %w", err)
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("lseek(SEEK_HOLE): %w", err)
		}
		if most -= end - start; most < 0 {
			return nil, errors.New("it holds more than is read of a file")
		}
		data := make([]byte, end-start)
		for n := 0; n < len(data); {
			got, err := unix.Pread(fd, data[n:], start+int64(n))
			switch {
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return nil, fmt.Errorf("pread: %w", err)
			case got == 0: // it has become shorter meanwhile
				data = data[:n]
			}
			n += max(got, 0)
		}
		all = append(all, kind.LiveExtent{Offset: start, Data: data})
		at = end
	}
}
