package live

import (
	"errors"
	"fmt"
	"os"
	"strings"

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

// fileGroup has the open files of one entry: by the inode, or by the word of a
// [kind.Joined].
type fileGroup struct {
	inode inode
	word  string
}

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
	groups := map[fileGroup]*entry{}
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
func (l *look) entry(c *class, groups map[fileGroup]*entry) {
	e := &entry{ends: []*class{c}}
	k, ok := kind.Kind{}, false
	if c.err == nil && strings.HasPrefix(c.link, "socket:") && l.unixSockets().err != nil {
		c.err = l.sockets.err // nobody knows what it is
		l.unseen(c.holders[0].table.owner, c.holders[0].fd, "", "%v", c.err)
	}
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
	group := fileGroup{inode: c.inode()}
	joined, ok := e.known.(kind.Joined)
	if ok {
		group = fileGroup{word: joined.Join(liveEnd{l, c})}
	}
	if e.known != nil && (kind.Anonymous(e.spec) || ok && len(e.spec.Ends()) > 0) {
		end := 0
		if ends := len(e.spec.Ends()); ends > 0 {
			end = e.known.End(liveEnd{l, c})
			e.ends = make([]*class, ends)
		}
		main := groups[group]
		switch {
		case main == nil:
			groups[group] = e
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

func (e liveEnd) Unix() *kind.LiveUnix {
	if !strings.HasPrefix(e.c.link, "socket:") {
		return nil
	}
	return e.l.unix(e.c)
}

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
	return use(&liveCopy{l: e.l, fd: fd, rests: e.c.rests()})
}

// liveCopy makes the calls of a kind.
type liveCopy struct {
	l      *look
	fd     int
	rests  bool   // nobody but tasks that hold has it
	buffer []byte // for what waits; nil: none was needed yet
}

// rests reports whether only tasks that hold have an open file.
func (c *class) rests() bool {
	for _, h := range c.holders {
		for _, p := range append([]*process{h.table.owner}, h.table.sharers...) {
			if _, holds := p.held(); !holds {
				return false
			}
		}
	}
	return true
}

var _ kind.LiveCopy = (*liveCopy)(nil)

// Fcntl implements [kind.LiveCopy].
func (c *liveCopy) Fcntl(command int) (int, error) {
	return unix.FcntlInt(uintptr(c.fd), command, 0)
}

// Waiting implements [kind.LiveCopy].
func (c *liveCopy) Waiting() (int, error) { return unix.IoctlGetInt(c.fd, unix.TIOCINQ) }

// Poll implements [kind.LiveCopy].
func (c *liveCopy) Poll() (events int, err error) {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return int(fds[0].Revents), os.NewSyscallError("poll", err)
		}
	}
}

// pipe is one of our own.
type pipe struct{ r, w, size int }

// newPipe gives one that never blocks.
func newPipe() (*pipe, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	return &pipe{r: ends[0], w: ends[1]}, nil
}

// close ends it, if there is one.
func (p *pipe) close() {
	if p != nil {
		_, _ = unix.Close(p.r), unix.Close(p.w)
	}
}

// fits gives it at least a size. The kernel may refuse.
func (p *pipe) fits(size int) {
	if got, err := unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, size); err == nil {
		p.size = got
	}
}

// tee copies what waits in a pipe as far as there is room. none: it was read meanwhile.
func (p *pipe) tee(from int) (n int64, none bool, err error) {
	n, err = unix.Tee(from, p.w, 1<<30, unix.SPLICE_F_NONBLOCK)
	if errors.Is(err, unix.EAGAIN) {
		return 0, true, nil
	}
	return n, false, err
}

// drain reads what was copied, a piece at a time: a read ends where a packet does.
func (p *pipe) drain(n int64) (pieces [][]byte, err error) {
	room := make([]byte, n)
	for n > 0 {
		got, err := unix.Read(p.r, room)
		if err != nil || got == 0 {
			return nil, fmt.Errorf("what was copied cannot be read: %w", err)
		}
		pieces = append(pieces, room[:got:got])
		room, n = room[got:], n-int64(got)
	}
	return pieces, nil
}

// Tee implements [kind.LiveCopy].
func (c *liveCopy) Tee() (pieces [][]byte, whole bool, err error) {
	if c.l.pipe == nil {
		if c.l.pipe, err = newPipe(); err != nil {
			return nil, false, err
		}
	}
	p := c.l.pipe
	if size, err := c.Fcntl(unix.F_GETPIPE_SZ); err == nil && size > p.size {
		p.fits(size) // as many buffers as there are in the other one: each may hold a few bytes
	}
	n, none, err := p.tee(c.fd)
	if err != nil || none {
		return nil, none, err
	}
	waiting, unknown := c.Waiting()
	pieces, err = p.drain(n)
	return pieces, unknown == nil && int64(waiting) <= n, err
}

// Front implements [kind.LiveCopy]: a pipe of one page takes one.
func (c *liveCopy) Front() (int, error) {
	if c.l.page == nil {
		var err error
		if c.l.page, err = newPipe(); err != nil {
			return 0, err
		}
		c.l.page.fits(1)
	}
	n, _, err := c.l.page.tee(c.fd)
	if err == nil {
		_, err = c.l.page.drain(n)
	}
	return int(n), err
}
