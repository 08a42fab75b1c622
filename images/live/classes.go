package live

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree/kind"
)

// class is an open file, and all descriptors of the tree that are it.
type class struct {
	holders []holder
	link    string
	stat    unix.Statx_t
	info    proc.FDInfo
	err     error // why link and stat are not known
	blind   error // why nobody can tell whether it is more than one open file
	bucket  *bucket
	entry   *entry
	end     int
	unix    *kind.LiveUnix // of a Unix socket, once asked for
	own     []string       // which of Options.Own it is, sorted
}

// holder is a descriptor by its table.
type holder struct {
	table *table
	fd    int
}

// hash is equal for descriptors that may be one open file.
type hash struct {
	mount int
	inode uint64
	flags int
	more  string // the link where the kernel tells no inode, what an eventfd is
}

// bucket has the open files of one hash, in the order of kcmp(2).
type bucket struct {
	files []*class
	last  int   // which of them came last: often the next one is the same
	one   bool  // there can be only one: a socket cannot be opened again
	blind error // why they cannot be told apart; then they are in the order in which they came
}

// hashOf gives the hash of a process's descriptor.
func hashOf(pid int, d *descriptor) hash {
	key := hash{mount: d.info.Mount, inode: d.info.Inode, flags: d.info.Flags, more: d.info.Field("eventfd-id")}
	if key.inode == 0 { // before Linux 5.14
		key.more, _ = proc.FDLink(pid, d.fd)
	}
	return key
}

// classes tells which descriptors are one open file.
func (l *look) classes() {
	l.buckets = map[hash]*bucket{}
	for _, t := range l.seen.tables {
		for i := range t.fds {
			d := &t.fds[i]
			key := hashOf(t.owner.PID, d)
			b := l.buckets[key]
			if b == nil {
				b = &bucket{}
				l.buckets[key] = b
			}
			l.place(b, t, d)
			d.class.holders = append(d.class.holders, holder{t, d.fd})
		}
	}
}

// place finds the class of a descriptor, or makes one.
func (l *look) place(b *bucket, t *table, d *descriptor) {
	if b.one {
		d.class = b.files[0]
		return
	}
	if b.blind != nil {
		d.class = l.guess(b, t, d)
		return
	}
	compare := func(c *class) (int, error) { return c.compare(t.owner.PID, d.fd) }
	if same := parents(t, d.fd); same != nil && same.bucket == b && same != b.files[b.last] { // what fork has left it
		if order, err := compare(same); err == nil && order == 0 {
			d.class = same
			return
		}
	}
	at, known, err := search(len(b.files), b.last, func(i int) (int, error) { return compare(b.files[i]) })
	switch {
	case err != nil && !gone(err):
		b.blinded(err)
		d.class = l.guess(b, t, d)
		return
	case known:
		d.class, b.last = b.files[at], at
		return
	}
	d.class = l.file(b, t, d)
	b.files, b.last = slices.Insert(b.files, at, d.class), at
	b.one = len(b.files) == 1 && cannotReopen(d.class.link)
}

// blinded notes that nobody can tell the open files of a bucket apart.
func (b *bucket) blinded(why error) {
	b.blind = why
	for _, c := range b.files {
		c.blind = why
	}
}

// compare compares an open file with a descriptor of a process, as kcmp(2) does.
func (c *class) compare(pid, fd int) (int, error) {
	h := c.holders[0]
	return proc.CompareFiles(h.table.owner.PID, pid, h.fd, fd)
}

// guess puts a descriptor where kcmp is refused: with those that have the same offset.
func (l *look) guess(b *bucket, t *table, d *descriptor) *class {
	for _, c := range b.files {
		if c.info.Pos == d.info.Pos {
			return c
		}
	}
	c := l.file(b, t, d)
	c.blind = b.blind
	b.files = append(b.files, c)
	return c
}

// parents gives what the parent has at a number.
func parents(t *table, fd int) *class {
	if t.owner.parent == nil || t.owner.parent.table == nil {
		return nil
	}
	if d := t.owner.parent.table.find(fd); d != nil {
		return d.class
	}
	return nil
}

// cannotReopen reports whether there is one open file of an inode at most.
func cannotReopen(link string) bool {
	return strings.HasPrefix(link, "socket:[") || link == "anon_inode:[eventfd]"
}

// looks is how often a descriptor is looked at whose file changes meanwhile.
const looks = 3

var errMoves = errors.New("the descriptor is another file each time it is looked at")

// file looks at what one descriptor leads to.
func (l *look) file(b *bucket, t *table, d *descriptor) *class {
	c := &class{bucket: b, info: d.info}
	pid := t.owner.PID
	for range looks {
		if c.link, c.err = proc.FDLink(pid, d.fd); c.err != nil {
			break
		}
		if c.err = proc.Statx(pid, d.fd, &c.stat); c.err != nil {
			break
		}
		if c.info.Inode == 0 || c.info.Inode == c.stat.Ino {
			return c
		}
		c.err = errMoves
		if info, err := proc.ReadFDInfo(pid, d.fd); err == nil {
			c.info = info
			c.info.Flags &^= unix.O_CLOEXEC
		}
	}
	if !gone(c.err) {
		l.unseen(t.owner, d.fd, "", "%v", c.err)
	}
	return c
}
