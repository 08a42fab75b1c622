package live

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// table is a descriptor table, of one process or of several that share it.
type table struct {
	owner   *process // the first that has it
	sharers []*process
	fds     []descriptor // ascending
	err     error        // why there are none; nil: there they are
	blind   error        // why nobody can tell whether others have it, too
	key     string       // equal for all processes that may have it
}

// descriptor is an entry of a table.
type descriptor struct {
	fd      int
	cloexec bool
	info    proc.FDInfo
	class   *class
}

func (t *table) find(fd int) *descriptor {
	i, ok := slices.BinarySearchFunc(t.fds, fd, func(d descriptor, fd int) int { return d.fd - fd })
	if !ok {
		return nil
	}
	return &t.fds[i]
}

// tables reads the tables of all processes, and which of them are one.
func (l *look) tables() {
	same := map[string][]*table{}
	for _, p := range l.seen.procs {
		if p.Ended() {
			continue
		}
		t := l.table(p)
		if t.err == nil { // an empty one may be shared, too
			list := same[t.key]
			at, known, err := search(len(list), 0, func(i int) (int, error) { return proc.CompareTables(list[i].owner.PID, p.PID) })
			switch {
			case err != nil && !gone(err):
				t.blind, list[0].blind = err, err
				l.unseen(p, -1, "shares.files", "whether the descriptor table is that of process %d: %v", list[0].owner.PID, err)
			case known:
				p.table = list[at]
				list[at].sharers = append(list[at].sharers, p)
				continue
			}
			same[t.key] = slices.Insert(list, at, t)
		}
		p.table = t
		l.seen.tables = append(l.seen.tables, t)
	}
}

// table reads one table.
func (l *look) table(p *process) *table {
	t := &table{owner: p}
	numbers, err := proc.FDs(p.PID)
	if err != nil {
		t.err = err
		if !gone(err) {
			l.unseen(p, -1, "fds", "%v", err)
		}
		return t
	}
	var key strings.Builder
	for _, n := range numbers {
		info, err := proc.ReadFDInfo(p.PID, n)
		switch {
		case err != nil && gone(err): // it was closed meanwhile
			continue
		case err != nil:
			t.err = err
			l.unseen(p, -1, "fds", "%v", err)
			return t
		}
		fmt.Fprintf(&key, "%d %d %d %o,", n, info.Mount, info.Inode, info.Flags)
		d := descriptor{fd: n, cloexec: info.Flags&unix.O_CLOEXEC != 0, info: info}
		d.info.Flags &^= unix.O_CLOEXEC
		t.fds = append(t.fds, d)
	}
	t.key = key.String()
	return t
}

// search finds the one that compare calls equal (0) among n in their order (1: it is
// before what is searched, 2: behind it), or where that would be inserted. It begins
// with the one at first, if there is such. The first error ends it.
func search(n, first int, compare func(i int) (int, error)) (at int, found bool, err error) {
	low, high := 0, n
	for middle := first; low < high; middle = (low + high) / 2 {
		if middle >= high {
			middle = (low + high) / 2
		}
		order, err := compare(middle)
		switch {
		case err != nil:
			return low, false, err
		case order == 0:
			return middle, true, nil
		case order == 1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return low, false, nil
}

// isProgram reports whether an argument list begins as that of a program does.
func isProgram(exe, arg string) bool { return path.Base(exe) == path.Base(arg) }
