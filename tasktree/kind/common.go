package kind

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree/recipe"
)

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
	async  string
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
	refuse(r.async, "O_ASYNC")
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
