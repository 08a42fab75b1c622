package kind

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Memfd is a file in memory without a place in the file system, see memfd_create(2).
type Memfd struct {
	Name    tasktree.Text   // what /proc shows, of no other meaning
	Size    tasktree.Number // bytes; not said: up to the end of the content
	Content Pieces
	Seals   Flags           // F_SEAL_; not said: F_SEAL_SEAL
	HugeTLB tasktree.Number // bytes of a page; 0: usual pages
	Owner   Owner
	Mode    tasktree.Number // not said: 0777, with F_SEAL_EXEC 0666
	Atime   tasktree.Text
	Mtime   tasktree.Text
	Offset  tasktree.Number
	Flags   Flags // O_APPEND, O_NOATIME, O_NONBLOCK
}

// longestMemfd is how many bytes a name has at most, see memfd_create(2).
const longestMemfd = 249

const (
	memfdMode     = 0o777
	unExecMode    = 0o666 // with MFD_NOEXEC_SEAL
	mayExec       = 0o111
	allWriteSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE
)

var memfdSeals = []Flag{
	{Name: "F_SEAL_SEAL", Bits: unix.F_SEAL_SEAL},
	{Name: "F_SEAL_SHRINK", Bits: unix.F_SEAL_SHRINK},
	{Name: "F_SEAL_GROW", Bits: unix.F_SEAL_GROW},
	{Name: "F_SEAL_WRITE", Bits: unix.F_SEAL_WRITE},
	{Name: "F_SEAL_FUTURE_WRITE", Bits: unix.F_SEAL_FUTURE_WRITE},
	{Name: "F_SEAL_EXEC", Bits: unix.F_SEAL_EXEC},
	{Name: "MFD_ALLOW_SEALING", Refuse: "that is what a list of seals means: seals: [] for none yet"},
}

var memfdFlags = flagTable(refusals{
	access: "a memfd is always made for reading and writing; another open file of it is {type: reopen, file: NAME, flags: [O_RDONLY]}",
	async:  "a memfd sends no signals; drop it",
	direct: "a memfd has no blocks; drop it",
	others: "it is for a path, and a memfd has none; drop it",
	own: map[string]string{
		"MFD_ALLOW_SEALING": "write seals: [], or those that it has",
		"MFD_CLOEXEC":       refuseCloexec,
		"MFD_EXEC":          "write a mode with x, such as 0777",
		"MFD_HUGETLB":       "write hugetlb: 2MiB",
		"MFD_NOEXEC_SEAL":   "write seals: [F_SEAL_EXEC]",
	},
})

func init() {
	register(Kind{
		Name: "memfd",
		Also: []string{"shm", "memory", "memfd_create", "shmem", "tmpfs", "hugetlb"},
		New:  func() tasktree.Spec { return &Memfd{} },
		Is:   isMemfd,
		Doc: "A file in memory without a place in the file system, see memfd_create(2). `content` is a text, or texts by offset, between which there are holes. " +
			"Without `seals` none can be added, and F_SEAL_SEAL is what the kernel shows then; `seals: []` is a file that can be sealed later. " +
			"F_SEAL_EXEC, in a file that may be executed, seals against writing, too. Another open file of it is a [`reopen`](#reopen).",
		Rights: "an `owner` other than oneself, or a group that one is not in, needs CAP_CHOWN; `hugetlb` needs free huge pages for what has content.",
		Kernels: "F_SEAL_EXEC since Linux 6.3; older ones are refused (3). " +
			"vm.memfd_noexec=2 allows no file without it.",
		Example: "mem: {type: memfd, name: shared memory, size: 12288, content: {0: hello, 8000: tail}, seals: [F_SEAL_GROW, F_SEAL_SHRINK], mode: 0640, " +
			"mtime: 2026-01-31T12:00:00.5Z, offset: 3}\n",
	})
}

// isMemfd reports whether an open file is one: its link looks like a path.
func isMemfd(e LiveEnd) bool {
	_, ok := e.Memory()
	return ok && strings.HasPrefix(e.Link(), memfdLink)
}

const memfdLink = "/memfd:"

// Fields implements [schema.Fielder].
func (m *Memfd) Fields(f schema.Fields) {
	f.Arg("name", &m.Name, schema.Help{Doc: "what /proc shows, at most 249 bytes, of no other meaning", Default: `""`})
	f.Int("size", &m.Size, schema.Int{Hi: maxOffset, Unit: "bytes", Sized: true, Help: schema.Help{
		Moves: true, Doc: "bytes, or such as `64KiB`, `2MiB`", Default: "up to the end of `content`",
	}})
	m.Content.fields(f, schema.Help{Moves: true, Doc: "a text, or a mapping from offsets in bytes to texts; the rest is a hole", Default: "nothing but a hole"})
	f.Flags("seals", &m.Seals, memfdSeals, schema.Help{
		Item: "seal", Doc: "list of `F_SEAL_SEAL`, `F_SEAL_SHRINK`, `F_SEAL_GROW`, `F_SEAL_WRITE`, `F_SEAL_FUTURE_WRITE`, `F_SEAL_EXEC`", Default: "`[F_SEAL_SEAL]`",
	})
	f.Int("hugetlb", &m.HugeTLB, schema.Int{Lo: 1, Hi: 1 << 40, Unit: "bytes", Sized: true, Help: schema.Help{
		Doc: "size of its huge pages, such as `2MiB`", Default: "usual pages",
	}})
	m.Owner.fields(f, "a user, or `[user, group]`, by number")
	f.Mode("mode", &m.Mode, schema.Help{Doc: "permissions, octal with a leading `0` or `0o`, or in quotes", Default: "`0777`, with F_SEAL_EXEC `0666`"})
	f.Text("atime", &m.Atime, schema.Help{Moves: true, Doc: "when it was last read: `2026-01-31T12:00:00Z`, or seconds since 1970, with a fraction", Default: "the moment of the restore"})
	f.Text("mtime", &m.Mtime, schema.Help{Moves: true, Doc: "when it was last written", Default: "the moment of the restore"})
	f.Int("offset", &m.Offset, schema.Int{Hi: maxOffset, Unit: "bytes", Help: schema.Help{Moves: true, Doc: "bytes from the start", Default: "0"}})
	f.Flags("flags", &m.Flags, memfdFlags, schema.Help{Doc: "list of `O_APPEND`, `O_NOATIME`, `O_NONBLOCK`", Default: "none"})
}

// Kind implements [tasktree.Spec].
func (*Memfd) Kind() string { return "memfd" }

// Ends implements [tasktree.Spec].
func (*Memfd) Ends() []string { return nil }

// execSealed reports whether the file is one that cannot be executed and never will be.
func (m *Memfd) execSealed() bool {
	return m.Seals.Bits&unix.F_SEAL_EXEC != 0 && (!m.Mode.Said() || m.Mode.Value&mayExec == 0)
}

// size gives the bytes that the file has.
func (m *Memfd) size() int64 { return max(m.Size.Value, m.Content.end()) }

// Check implements [tasktree.Spec].
func (m *Memfd) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	bad := func(pos tasktree.Pos, path, format string, args ...any) {
		report(tasktree.Problem{Pos: pos, Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	if n := len(m.Name.Value); n > longestMemfd {
		bad(m.Name.Pos, "name", "the name has %d bytes; memfd_create takes at most %d", n, longestMemfd)
	}
	if strings.ContainsRune(m.Name.Value, 0) {
		bad(m.Name.Pos, "name", "a NUL byte cannot be part of a name")
	}
	m.Content.check(report)
	end := m.Content.end()
	if m.Size.Said() && m.Size.Value < end {
		bad(m.Size.Pos, "size", "the content ends at %d, behind the size of %d", end, m.Size.Value)
	}
	if huge := m.HugeTLB.Value; huge != 0 {
		switch {
		case huge <= int64(unix.Getpagesize()) || bits.OnesCount64(uint64(huge)) != 1:
			bad(m.HugeTLB.Pos, "hugetlb", "%d bytes is not the size of a huge page, a power of two such as 2MiB or 1GiB", huge)
		case !m.Size.Said() && end > 0:
			bad(m.HugeTLB.Pos, "hugetlb", "a file of huge pages needs a size that is a multiple of %d", huge)
		case m.Size.Value%huge != 0:
			bad(m.Size.Pos, "size", "%d bytes are no multiple of the huge page of %d", m.Size.Value, huge)
		}
	}
	if m.Seals.Bits&unix.F_SEAL_EXEC != 0 && !m.execSealed() && m.Seals.Bits&allWriteSeals != allWriteSeals {
		bad(m.Seals.Pos, "seals", "F_SEAL_EXEC in a file that may be executed (mode %#o) brings F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE and F_SEAL_FUTURE_WRITE along; write them, too, or a mode without x", m.Mode.Value)
	}
	if m.Offset.Value < 0 {
		bad(m.Offset.Pos, "offset", "offset %d is before the start of the file", m.Offset.Value)
	}
	checkMoment(m.Atime, "atime", report)
	checkMoment(m.Mtime, "mtime", report)
}

// Traits implements [tasktree.Spec].
func (m *Memfd) Traits(*tasktree.Tree) tasktree.Traits {
	return tasktree.Traits{ByRunner: m.HugeTLB.Value > 0 && m.Content.end() > 0}
}

// Host implements [tasktree.Needy].
func (m *Memfd) Host(*tasktree.Tree) (needs []recipe.Need) {
	if m.Seals.Bits&unix.F_SEAL_EXEC != 0 {
		needs = append(needs, recipe.Need{What: recipe.SealExec, Pos: m.Seals.Pos})
	}
	if huge := m.HugeTLB.Value; huge > 0 {
		needs = append(needs, recipe.Need{What: recipe.HugePages, Pos: m.HugeTLB.Pos, Size: huge, N: m.Content.pages(huge)})
	}
	return needs
}

// Make implements [tasktree.Spec].
func (m *Memfd) Make(_ *tasktree.Tree, r recipe.Maker) []recipe.Ref {
	flags := unix.MFD_CLOEXEC
	if m.Seals.Said() {
		flags |= unix.MFD_ALLOW_SEALING
	}
	if m.HugeTLB.Value > 0 {
		flags |= unix.MFD_HUGETLB | bits.TrailingZeros64(uint64(m.HugeTLB.Value))<<unix.MFD_HUGE_SHIFT
	}
	if r.Has(recipe.ExecSealed) { // without a word vm.memfd_noexec says which
		if m.execSealed() {
			flags |= unix.MFD_NOEXEC_SEAL
		} else {
			flags |= unix.MFD_EXEC
		}
	}
	if m.HugeTLB.Pos.IsValid() {
		r.At(m.HugeTLB.Pos)
	}
	return []recipe.Ref{r.FD(recipe.Call{
		Name: "memfd_create", Nr: unix.SYS_MEMFD_CREATE,
		Args: []recipe.Arg{recipe.Data([]byte(m.Name.Value + "\x00")), recipe.Int(int64(flags))},
		Hints: []recipe.Hint{
			{Errno: int(unix.EACCES), Text: "vm.memfd_noexec=2 allows only files that can never be executed; write seals: [F_SEAL_EXEC] and a mode without x, or lower it"},
			{Errno: int(unix.ENODEV), Text: "this kernel has no huge pages of this size"},
			{Errno: int(unix.EPERM), Text: "huge pages are refused here"},
		},
	})}
}

// Fill implements [tasktree.Filled].
func (m *Memfd) Fill(_ *tasktree.Tree, r recipe.Maker) {
	if m.Size.Value > 0 {
		r.At(m.Size.Pos)
		r.Call(recipe.Call{
			Name: "ftruncate", Nr: unix.SYS_FTRUNCATE, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(r.Own(0)), recipe.Int(m.Size.Value)},
			Hints: []recipe.Hint{{Errno: int(unix.EFBIG), Text: "it is over RLIMIT_FSIZE (ulimit -f)"}},
		})
	}
	for _, a := range m.Content.sorted() {
		r.At(a.Data.Pos)
		n := int64(len(a.Data.Value))
		if m.HugeTLB.Value > 0 { // huge pages take no write(2)
			r.Mapped(recipe.Mapped{
				To: r.Own(0), Offset: a.Offset, Data: []byte(a.Data.Value), Page: m.HugeTLB.Value,
				Hints: []recipe.Hint{{Errno: int(unix.ENOMEM), Text: "too few huge pages are free"}},
			})
			continue
		}
		r.Call(recipe.Call{
			Name: "pwrite64", Nr: unix.SYS_PWRITE64, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(r.Own(0)), recipe.Data([]byte(a.Data.Value)), recipe.Int(n), recipe.Int(a.Offset)},
			Want: n, HasWant: true, Short: "the file took only a part of its content: memory is short",
			Hints: []recipe.Hint{{Errno: int(unix.EFBIG), Text: "it is over RLIMIT_FSIZE (ulimit -f)"}},
		})
	}
}

// Shape implements [tasktree.Shaped]: the owner first, whose change takes permissions
// away; seals last, since they may forbid all that.
func (m *Memfd) Shape(_ *tasktree.Tree, r recipe.Maker) {
	fd := r.Own(0)
	m.Owner.set(r, fd)
	switch {
	case m.Mode.Said():
		setMode(r, fd, m.Mode)
	case m.execSealed() && !r.Has(recipe.ExecSealed): // such a host is refused before
		setMode(r, fd, tasktree.Number{Value: unExecMode, Pos: m.Seals.Pos})
	}
	setFlags(r, fd, m.Flags, 0)
	setOffset(r, fd, m.Offset)
	setTimes(r, fd, m.Atime, m.Mtime)
	if m.Seals.Bits != 0 && m.Seals.Bits != unix.F_SEAL_SEAL || m.Seals.Bits == unix.F_SEAL_SEAL && m.Seals.Said() {
		r.At(m.Seals.Pos)
		r.Call(recipe.Call{
			Name: "fcntl(F_ADD_SEALS)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
			Args:  []recipe.Arg{recipe.FD(fd), recipe.Int(unix.F_ADD_SEALS), recipe.Int(int64(m.Seals.Bits))},
			Hints: []recipe.Hint{{Errno: int(unix.EINVAL), Text: "this kernel does not have one of the seals"}},
		})
	}
}

// Reopens implements [reopened].
func (*Memfd) Reopens(*tasktree.Tree) string { return "" }

// Anonymous implements [reopened].
func (*Memfd) Anonymous() bool { return true }

// End implements [Readable].
func (*Memfd) End(LiveEnd) int { return 0 }

// Hint implements [Readable].
func (m *Memfd) Hint() string { return "memfd-" + m.Name.Value }

// Made implements [Readable].
func (m *Memfd) Made(*tasktree.Tree) tasktree.Spec {
	made := *m
	made.Name.Set, made.HugeTLB.Set, made.Offset.Set, made.Flags = true, true, true, madeFlags(m.Flags)
	made.Size.Value, made.Size.Set = m.size(), true
	made.Content = m.Content.placed(ofExtents(m.Content.extents(int64(unix.Getpagesize()), m.size()), m.HugeTLB.Value == 0))
	if !m.Seals.Said() {
		made.Seals = Flags{Bits: unix.F_SEAL_SEAL}
	}
	made.Seals = madeFlags(made.Seals)
	if !m.Mode.Said() {
		made.Mode = tasktree.Number{Value: memfdMode}
		if m.execSealed() {
			made.Mode.Value = unExecMode
		}
	}
	made.Mode.Set = true
	made.Owner.Any = true
	made.Atime, made.Mtime = madeMoment(m.Atime), madeMoment(m.Mtime)
	return &made
}

// Read implements [Readable]. It reads the content by an open file of its own, which has
// an offset of its own and leaves the time of the last read.
func (m *Memfd) Read(l Live) (unseen []Unseen) {
	e := l.Ends()[0]
	huge, _ := e.Memory()
	stat := e.Stat()
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n, Set: true} }
	at := func(t unix.StatxTimestamp) tasktree.Text {
		return tasktree.Text{Value: moment(time.Unix(t.Sec, int64(t.Nsec))), Set: true}
	}
	m.Name = tasktree.Text{Value: strings.TrimSuffix(strings.TrimPrefix(e.Link(), memfdLink), deleted), Set: true}
	m.Size, m.HugeTLB, m.Offset = number(int64(stat.Size)), number(huge), number(e.Offset())
	m.Owner = Owner{UID: number(int64(stat.Uid)), GID: number(int64(stat.Gid))}
	m.Mode, m.Atime, m.Mtime = number(int64(stat.Mode&allModes)), at(stat.Atime), at(stat.Mtime)
	m.Flags = visible(memfdFlags, e.Flags())
	lost := func(key, format string, args ...any) {
		unseen = append(unseen, Unseen{Key: key, Why: fmt.Sprintf(format, args...)})
	}
	if !l.Wants("seals") {
		return nil // nobody asks for what costs a call
	}
	err := e.Copy(func(c LiveCopy) error {
		seals, err := c.Fcntl(unix.F_GET_SEALS)
		if err != nil {
			lost("seals", "fcntl(F_GET_SEALS): %v", err)
		} else {
			m.Seals = Flags{Bits: seals, Set: true}
		}
		all, err := c.Extents(mostContent)
		if err != nil {
			lost("content", "%v", err)
			return nil
		}
		m.Content = ofExtents(all, huge == 0)
		return nil
	})
	if err != nil {
		lost("seals", "%v", err)
		lost("content", "%v", err)
	}
	return unseen
}
