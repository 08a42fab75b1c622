package prepare

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// addressHolder says in words who has an address that is in use, as bytes of a struct
// sockaddr, "" if it cannot be told. path is where the file of the name of a Unix socket
// is.
func addressHolder(address []byte, path string) string {
	const family = 2 // bytes of it
	if len(address) <= family || address[0] != unix.AF_UNIX {
		return ""
	}
	name := address[family:]
	if name[0] == 0 {
		return holderOfName(string(name))
	}
	return holderOfPath(string(bytes.TrimRight(name, "\x00")), path)
}

// holderOfName finds who has an abstract name.
func holderOfName(name string) string {
	all, err := proc.UnixSockets()
	if err != nil {
		return ""
	}
	shown := strconv.Quote("@" + name[1:])
	return shown + heldBy(all, func(s *proc.UnixSocket) bool { return s.Name == name }, " is in use by a socket that is not visible here")
}

// holderOfPath finds what is at a path, and who has bound it.
func holderOfPath(name, path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return ""
	}
	shown := strconv.Quote(name)
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return shown + " is there already, and is no socket; remove it, or write another path"
	}
	all, err := proc.UnixSockets()
	if err != nil {
		return ""
	}
	at := func(s *proc.UnixSocket) bool {
		return uint64(s.File[0]) == st.Ino&0xffffffff && s.Name != "" && s.Name[0] != 0
	}
	return shown + heldBy(all, at, " is there, and no socket of this network namespace has it; remove it if it is left over from one that is gone")
}

// heldBy says who has a name, of those sockets that may. One that is connected has got it
// from its listener, or has bound it itself.
func heldBy(all map[uint64]*proc.UnixSocket, has func(*proc.UnixSocket) bool, otherwise string) string {
	for _, connected := range []bool{false, true} {
		for _, s := range all {
			if s.Connected == connected && has(s) {
				return heldBySocket(s.Inode)
			}
		}
	}
	return otherwise
}

func heldBySocket(inode uint64) string {
	pid, name, ok := proc.SocketHolder(inode)
	switch {
	case !ok:
		return " is in use by a process that is not visible here"
	case pid == os.Getpid():
		return " is in use by another open file of the description"
	}
	return fmt.Sprintf(" is in use by pid %d (%s)", pid, name)
}
