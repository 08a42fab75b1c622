package live

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// entry is what becomes one open file of the description: an end of a pipe with the
// other one, or one open file.
type entry struct {
	kind   string
	known  kind.Readable // nil: no kind has it
	spec   tasktree.Spec
	ends   []*class // by end; nil: nobody in the tree has it
	file   *tasktree.OpenFile
	unseen []kind.Unseen

	// main is the entry of the same file that was met first; nil: this one was. Its
	// other ends are there.
	main *entry
}

// inode tells files apart, however often they are open.
type inode struct {
	mount mountID
	ino   uint64
}

func (c *class) inode() inode { return inode{placeOf(&c.stat), c.stat.Ino} }

// root gives the entry of the same file that was met first.
func (e *entry) root() *entry {
	if e.main != nil {
		return e.main
	}
	return e
}

// entries puts open files together that belong together, and lets their kinds read
// them.
func (l *look) entries() {
	groups := map[inode]*entry{}
	for _, t := range l.seen.tables {
		for i := range t.fds {
			if c := t.fds[i].class; c.entry == nil {
				l.entry(c, groups)
			}
		}
	}
	for _, e := range l.seen.entries {
		if e.known == nil || e.main != nil {
			continue
		}
		e.unseen = e.known.Read(&entryLive{l, e})
		at := e.first().holders[0]
		for _, u := range e.unseen {
			l.seen.Unseen = append(l.seen.Unseen, Unseen{PID: at.table.owner.PID, FD: at.fd, Key: u.Key, Why: u.Why, Always: u.Always})
		}
	}
}

// entry finds the entry of an open file, or makes one.
func (l *look) entry(c *class, groups map[inode]*entry) {
	e := &entry{ends: []*class{c}}
	k, ok := kind.Kind{}, false
	if c.err == nil {
		k, ok = kind.Of(liveEnd{l, c})
	}
	if ok {
		e.kind, e.spec = k.Name, k.New()
		e.known, _ = e.spec.(kind.Readable)
	}
	if e.known == nil {
		e.kind, e.spec = "", &kind.Inherit{}
	}
	if e.known != nil && kind.Anonymous(e.spec) {
		end := 0
		if ends := len(e.spec.Ends()); ends > 0 {
			end = e.known.End(liveEnd{l, c})
			e.ends = make([]*class, ends)
		}
		main := groups[c.inode()]
		switch {
		case main == nil:
			groups[c.inode()] = e
		case main.ends[end] == nil:
			main.ends[end], c.entry, c.end = c, main, end
			return
		default: // it was opened again
			e.main = main
		}
		e.ends[end], c.end = c, end
	}
	c.entry = e
	l.seen.entries = append(l.seen.entries, e)
}

func (e *entry) first() *class {
	for _, c := range e.ends {
		if c != nil {
			return c
		}
	}
	return nil
}

// entryLive is what an entry's kind may ask.
type entryLive struct {
	l *look
	e *entry
}

var _ kind.Live = (*entryLive)(nil)

// Ends implements [kind.Live].
func (v *entryLive) Ends() (ends []kind.LiveEnd) {
	for _, c := range v.e.ends {
		if c != nil {
			ends = append(ends, liveEnd{v.l, c})
		}
	}
	return ends
}

// Wants implements [kind.Live].
func (v *entryLive) Wants(key string) bool { return v.l.options.wants(v.e.kind, key) }

// liveEnd is what a kind may ask of one open file.
type liveEnd struct {
	l *look
	c *class
}

var _ kind.LiveEnd = liveEnd{}

func (e liveEnd) Link() string  { return e.c.link }
func (e liveEnd) Mode() uint32  { return uint32(e.c.stat.Mode) }
func (e liveEnd) Flags() int    { return e.c.info.Flags }
func (e liveEnd) Offset() int64 { return e.c.info.Pos }

func (e liveEnd) Stat() *unix.Statx_t { return &e.c.stat }

func (e liveEnd) Memory() (hugePage int64, ok bool) { return e.l.memory.is(e.c) }

func (e liveEnd) Info(field string) string { return e.c.info.Field(field) }

var errNoCopy = errors.New("a file with a server is not copied")

// Copy implements [kind.LiveEnd].
func (e liveEnd) Copy(use func(kind.LiveCopy) error) error {
	switch e.c.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
		if _, memory := e.Memory(); !memory {
			return errNoCopy
		}
	}
	h := e.c.holders[0]
	fd, err := proc.CopyFD(h.table.owner.ID, h.fd)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var now unix.Statx_t
	if err := proc.Statx(proc.Caller, fd, &now); err != nil {
		return err
	}
	if now.Ino != e.c.stat.Ino || now.Mnt_id != e.c.stat.Mnt_id {
		return errMoves
	}
	return use(&liveCopy{e.l, fd})
}

// liveCopy makes the calls of a kind.
type liveCopy struct {
	l  *look
	fd int
}

var _ kind.LiveCopy = (*liveCopy)(nil)

// Fcntl implements [kind.LiveCopy].
func (c *liveCopy) Fcntl(command int) (int, error) {
	return unix.FcntlInt(uintptr(c.fd), command, 0)
}

// Waiting implements [kind.LiveCopy].
func (c *liveCopy) Waiting() (int, error) { return unix.IoctlGetInt(c.fd, unix.TIOCINQ) }

// pipe is one of our own.
type pipe struct{ r, w, size int }

// Tee implements [kind.LiveCopy].
func (c *liveCopy) Tee() (content []byte, whole bool, err error) {
	if c.l.pipe == nil {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return nil, false, err
		}
		c.l.pipe = &pipe{r: ends[0], w: ends[1]}
	}
	p := c.l.pipe
	if size, err := c.Fcntl(unix.F_GETPIPE_SZ); err == nil && size > p.size {
		// As many buffers as there are in the other one: each may hold a few bytes.
		if got, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, size); err == nil {
			p.size = got
		}
	}
	n, err := unix.Tee(c.fd, p.w, 1<<30, unix.SPLICE_F_NONBLOCK)
	switch {
	case errors.Is(err, unix.EAGAIN): // it was read meanwhile
		return nil, true, nil
	case err != nil:
		return nil, false, err
	}
	waiting, err := c.Waiting()
	content = make([]byte, n)
	for at := 0; at < len(content); {
		n, err := unix.Read(p.r, content[at:])
		if err != nil || n == 0 {
			return nil, false, fmt.Errorf("what was copied cannot be read: %w", err)
		}
		at += n
	}
	return content, err == nil && int64(waiting) <= n, nil
}
