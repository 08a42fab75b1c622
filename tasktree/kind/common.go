package kind

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// maxOffset is the largest offset and size of a file.
const maxOffset = math.MaxInt64

// allModes are the permissions of a file.
const allModes = 0o7777

// settable are the flags of an open file that fcntl(F_SETFL) changes, see fcntl(2).
// Which of them a kind keeps is not for the kernel to tell: it drops O_ASYNC in silence
// where a file sends no signals.
const settable = unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME | unix.O_NONBLOCK

// always are the flags that every open file can be given, whatever it is.
var always = []Flag{
	{Name: "O_APPEND", Bits: unix.O_APPEND},
	{Name: "O_NOATIME", Bits: unix.O_NOATIME},
	{Name: "O_NONBLOCK", Bits: unix.O_NONBLOCK},
	{Name: "O_NDELAY", Refuse: "write O_NONBLOCK"},
}

// refusals says why an open file of a kind cannot have a flag, and what to do instead.
type refusals struct {
	access string // O_RDONLY, O_WRONLY, O_RDWR
	async  string // "": it can have O_ASYNC
	direct string
	others string            // of open(2)
	own    map[string]string // flags of the call that makes it, which people write
}

// flagTable gives the flags of a kind that open(2) does not make: those that every open
// file can be given. The others have their reason.
func flagTable(r refusals) []Flag {
	table := slices.Clone(always)
	refuse := func(why string, names ...string) {
		for _, name := range names {
			table = append(table, Flag{Name: name, Refuse: why})
		}
	}
	refuse(r.access, "O_RDONLY", "O_WRONLY", "O_RDWR")
	if r.async == "" {
		table = append(table, Flag{Name: "O_ASYNC", Bits: unix.O_ASYNC})
	} else {
		refuse(r.async, "O_ASYNC")
	}
	refuse(r.direct, "O_DIRECT")
	refuse(r.others, "O_CREAT", "O_DIRECTORY", "O_DSYNC", "O_EXCL", "O_LARGEFILE", "O_NOCTTY", "O_NOFOLLOW", "O_PATH", "O_SYNC", "O_TMPFILE", "O_TRUNC")
	refuse(refuseCloexec, "O_CLOEXEC")
	for name, why := range r.own {
		refuse(why, name)
	}
	slices.SortFunc(table, func(a, b Flag) int { return strings.Compare(a.Name, b.Name) })
	return table
}

// setFlags gives an open file the flags that it was not made with; it has been made with
// has.
func setFlags(m recipe.Maker, fd recipe.Ref, f Flags, has int) {
	if f.Bits&settable == has&settable {
		return
	}
	m.At(f.Pos)
	m.Call(recipe.Call{
		Name: "fcntl(F_SETFL)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(fd), recipe.Int(unix.F_SETFL), recipe.Int(int64(f.Bits & settable))},
		Hints: []recipe.Hint{
			{Errno: int(unix.EPERM), Text: "O_NOATIME is for the owner of the file, and with CAP_FOWNER"},
		},
	})
}

// madeFlags are flags as they are read, if they were made as f says.
func madeFlags(f Flags) Flags { return Flags{Bits: f.Bits, Pos: f.Pos, Set: true} }

// Owner is a user and a group, or the user alone.
type Owner struct {
	UID, GID tasktree.Number
	Any      bool // what is not said may be anything: for a comparison
}

// highestID is the largest number of a user or a group: the next one means none.
const highestID = math.MaxUint32 - 1

// fields binds the key owner.
func (o *Owner) fields(f schema.Fields, doc string) {
	o.bind(f, "owner", schema.Help{Doc: doc, Default: "the restoring process's"})
}

// bind binds it to a key.
func (o *Owner) bind(f schema.Fields, key string, h schema.Help) {
	h.Want = "a user, or a list of a user and a group"
	f.Either(key, schema.Either{
		Scalar: func(f schema.Fields) { f.Int("", &o.UID, schema.Int{Hi: highestID, Of: "a user"}) },
		Whole: func(f schema.Fields) {
			const two = "an owner is a user and a group: [1000, 1000]"
			f.List("", &owners{Owner: o, n: o.said()}, schema.Help{Most: 2, More: two, Empty: two, Want: h.Want})
		},
		Alone: o.said() < 2,
		Help:  h,
	})
}

// ownerOf reads that of a live open file.
func ownerOf(e LiveEnd) Owner {
	number := func(n uint32) tasktree.Number { return tasktree.Number{Value: int64(n), Set: true} }
	return Owner{UID: number(e.Stat().Uid), GID: number(e.Stat().Gid)}
}

// said is how many of the two are said, the user first.
func (o *Owner) said() int {
	switch {
	case o.GID.Said(), o.Any:
		return 2
	case o.UID.Said():
		return 1
	}
	return 0
}

// owners is the list of the two.
type owners struct {
	*Owner

	n    int
	more tasktree.Number
}

func (o *owners) Len() int { return o.n }
func (o *owners) Add()     { o.n++ }
func (o *owners) Item(i int, f schema.Fields) {
	switch i {
	case 0:
		f.Int("", &o.UID, schema.Int{Hi: highestID, Of: "a user"})
	case 1:
		f.Int("", &o.GID, schema.Int{Hi: highestID, Of: "a group"})
	default:
		f.Int("", &o.more, schema.Int{Hi: highestID, Of: "a group"})
	}
}

// set writes the step that gives a file its owner.
func (o *Owner) set(m recipe.Maker, fd recipe.Ref) {
	if o.said() == 0 {
		return
	}
	user, group := o.ids()
	m.At(o.UID.Pos)
	m.Call(recipe.Call{
		Name: "fchown", Nr: unix.SYS_FCHOWN, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(fd), user, group},
		Hints: []recipe.Hint{
			{Errno: int(unix.EPERM), Text: "only with CAP_CHOWN another user can be given a file, or a group that this process is not in; leave owner out"},
			{Errno: int(unix.EINVAL), Text: "the user namespace of the restoring process does not have this user or group"},
		},
	})
}

// ids are the user and the group as arguments: -1 for one that stays.
func (o *Owner) ids() (user, group recipe.Arg) {
	id := func(n tasktree.Number) recipe.Arg {
		if n.Said() {
			return recipe.Int(n.Value)
		}
		return recipe.Int(-1)
	}
	return id(o.UID), id(o.GID)
}

// setMode writes the step that gives a file its permissions. It comes behind the owner,
// whose change takes the set-user-ID bit away.
func setMode(m recipe.Maker, fd recipe.Ref, mode tasktree.Number) {
	m.At(mode.Pos)
	m.Call(recipe.Call{
		Name: "fchmod", Nr: unix.SYS_FCHMOD, Effect: recipe.Nothing, Args: []recipe.Arg{recipe.FD(fd), recipe.Int(mode.Value)},
		Hints: []recipe.Hint{{Errno: int(unix.EPERM), Text: "the file has another owner now, and CAP_FOWNER is missing"}},
	})
}

// parseMoment reads a point in time: seconds since 1970, with up to nine digits behind
// the point, or as RFC 3339 has it.
func parseMoment(s string) (t time.Time, ok bool) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, true
	}
	whole, part, pointed := strings.Cut(s, ".")
	const digits = 9
	if pointed && (part == "" || len(part) > digits || strings.Trim(part, "0123456789") != "") {
		return t, false
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.HasPrefix(whole, "+") {
		return t, false
	}
	ns, _ := strconv.ParseInt((part + "000000000")[:digits], 10, 64)
	if strings.HasPrefix(whole, "-") {
		ns = -ns
	}
	return time.Unix(seconds, ns), true
}

// moment writes a point in time as it is compared.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// checkMoment reports a text that is no point in time.
func checkMoment(v tasktree.Text, path string, report func(tasktree.Problem)) {
	if _, ok := parseMoment(v.Value); v.Said() && !ok {
		report(tasktree.Problem{Pos: v.Pos, Path: path, Msg: fmt.Sprintf("%q is no time; write 2026-01-31T12:00:00Z, or seconds since 1970 such as 1769860800.5", v.Value)})
	}
}

// setTimes writes the step that sets when a file was last read and written. What is not
// said stays.
func setTimes(m recipe.Maker, fd recipe.Ref, atime, mtime tasktree.Text) {
	if !atime.Said() && !mtime.Said() {
		return
	}
	var times []byte
	for _, v := range []tasktree.Text{mtime, atime} {
		if v.Said() {
			m.At(v.Pos)
		}
	}
	for _, v := range []tasktree.Text{atime, mtime} {
		seconds, ns := int64(0), int64(unix.UTIME_OMIT)
		if t, ok := parseMoment(v.Value); v.Said() && ok {
			seconds, ns = t.Unix(), int64(t.Nanosecond())
		}
		times = binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(times, uint64(seconds)), uint64(ns))
	}
	m.Call(recipe.Call{
		Name: "utimensat", Nr: unix.SYS_UTIMENSAT, Effect: recipe.Nothing,
		Args:  []recipe.Arg{recipe.FD(fd), recipe.Int(0), recipe.Data(times), recipe.Int(0)}, // of the descriptor itself
		Hints: []recipe.Hint{{Errno: int(unix.EPERM), Text: "the file has another owner now, and CAP_FOWNER is missing; leave the times out"}},
	})
}

// madeMoment is a time as it is read, if it was made as v says.
func madeMoment(v tasktree.Text) tasktree.Text {
	if t, ok := parseMoment(v.Value); v.Said() && ok {
		v.Value = moment(t)
	}
	return v
}

// setOffset writes the step that moves to an offset.
func setOffset(m recipe.Maker, fd recipe.Ref, offset tasktree.Number) {
	if offset.Value == 0 {
		return
	}
	m.At(offset.Pos)
	m.Call(recipe.Call{
		Name: "lseek", Nr: unix.SYS_LSEEK, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(fd), recipe.Int(offset.Value), recipe.Int(unix.SEEK_SET)},
		Want: offset.Value, HasWant: true, Short: "the file has another offset",
		Hints: []recipe.Hint{{Errno: int(unix.ESPIPE), Text: "this file has no offset"}},
	})
}
