package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnixLargeQueue restores what waits in a queue that only a larger send buffer of the
// other end takes, and values that the kernel rounds.
func TestUnixLargeQueue(t *testing.T) {
	needRoot(t)
	const size = 300000 // bytes; net.core.wmem_default is 212992
	dir := openFolder(t)
	path := save(t, dir, fmt.Sprintf(`version: 1
files:
  full: {type: unix, pair: stream, queue: {a: [%s]}, options: {b: {SO_SNDBUF: 800000}, a: {SO_RCVTIMEO: 1500us, SO_LINGER: 1500ms, SO_RCVBUF: 0}}}
  mode: {type: unix, listen: %s/mode, mode: 02620, owner: [5, 6]}
tasks: [{name: a, fds: {5: full.a, 6: full.b, 7: mode}}]
`, strings.Repeat("x", size), dir))
	rep := report(t, run(t, "restore", "-d", "--json", path))
	defer endTree(t)
	verifyRight(t, path, rep)
	_, fds := copiesOf(t, rep.Tasks[0].HostPID, "full.a", "full.b", "mode")
	if n, err := unix.IoctlGetInt(fds["full.a"], unix.TIOCINQ); n != size || err != nil {
		t.Errorf("%d bytes wait, %v", n, err)
	}
	if n, err := unix.GetsockoptInt(fds["full.b"], unix.SOL_SOCKET, unix.SO_SNDBUF); n != 800000 || err != nil {
		t.Errorf("SO_SNDBUF is %d, %v", n, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "mode"), &st); err != nil || st.Mode&0o7777 != 0o2620 || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("mode %o of %d:%d, %v", st.Mode, st.Uid, st.Gid, err)
	}
}

// TestUnixGivenTarget holds that a socket which the caller gives stays as it is, though its
// description says that it is connected to one whose path is removed.
func TestUnixGivenTarget(t *testing.T) {
	needRoot(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, other := os.NewFile(uintptr(pair[0]), "mine"), os.NewFile(uintptr(pair[1]), "other")
	defer mine.Close()
	defer other.Close()
	path := write(t, `version: 1
files:
  gone: {type: unix, socktype: dgram, bind: gone, deleted: true}
  by: {type: unix, socktype: dgram, connect: gone}
tasks: [{name: a, fds: {5: gone, 6: by}}]
`)
	res := wait(t, startGiven(t, []*os.File{mine}, "restore", "-d", "--inherit-fd", "by=3", path))
	defer endTree(t)
	if res.status != 0 {
		t.Fatalf("status %d: %s", res.status, res.errors)
	}
	if _, err := other.Write([]byte("x")); err != nil { // a socket that was connected elsewhere refuses it
		t.Errorf("the other end: %v", err)
	}
}
