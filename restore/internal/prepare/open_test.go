package prepare

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/safepath"
	"regrow/restore/internal/words"
)

// TestReopenAt holds that the runner opens a path a second time only if it still leads to
// the same file, and which flags the file then has. Tasks do the same, see package
// postfork.
func TestReopenAt(t *testing.T) {
	dir := t.TempDir()
	file, other, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "other"), filepath.Join(dir, "fifo")
	for _, path := range []string{file, other} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p := paths{safepath.New(false)}
	const flags = unix.O_RDWR | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	for _, c := range []struct {
		path, looks string
		stays       bool
		reason      string
		err         error
	}{
		{path: file, looks: file},
		{path: file, looks: file, stays: true},
		{path: other, looks: file, reason: words.Changed},
		{path: fifo, looks: file, reason: words.Changed}, // and does not block
		{path: dir + "/missing", looks: file, err: unix.ENOENT},
	} {
		look, err := unix.Open(c.looks, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fd, f := p.reopenAt(c.path, flags, look, c.stays)
		_ = unix.Close(look)
		if f.reason != c.reason || !errors.Is(f.err, c.err) {
			t.Errorf("%s: %v %q, want %v %q", c.path, f.err, f.reason, c.err, c.reason)
		}
		if f.reason != "" || f.err != nil {
			continue
		}
		has, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		want := unix.O_APPEND | unix.O_NOFOLLOW
		if c.stays {
			want |= unix.O_NONBLOCK
		}
		if got := has & (unix.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK); err != nil || got != want {
			t.Errorf("%s has the flags %#o, want %#o: %v", c.path, got, want, err)
		}
		_ = unix.Close(int(fd))
	}
}
