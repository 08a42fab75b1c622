package prepare

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTruncatesSealed has a memory file that is sealed against shrinking: that it cannot
// be cut is known before any other file is.
func TestTruncatesSealed(t *testing.T) {
	fd, err := unix.MemfdCreate("sealed", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, c := range []struct {
		text  string
		seals int
		want  error
	}{{"", 0, nil}, {"text", 0, nil}, {"", unix.F_SEAL_SHRINK, unix.EPERM}} {
		if _, err := unix.Write(fd, []byte(c.text)); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, c.seals); err != nil {
			t.Fatal(err)
		}
		if regular, err := truncates(fd); !errors.Is(err, c.want) || regular != (c.want == nil) {
			t.Errorf("with %q and the seals %#x: regular %v, %v, want %v", c.text, c.seals, regular, err, c.want)
		}
	}
}
