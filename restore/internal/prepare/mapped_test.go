package prepare

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMapped holds that bytes get into a file by way of a mapping, across pages too, and
// that a fault is an error.
func TestMapped(t *testing.T) {
	fd, err := unix.MemfdCreate("mapped", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	page := int64(os.Getpagesize())
	if err := unix.Ftruncate(fd, 3*page); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, page - 3, 2*page - 6, 3*page - 6} {
		if err := mapped(fd, page, at, []byte("across")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 6)
		if _, err := unix.Pread(fd, got, at); err != nil || string(got) != "across" {
			t.Errorf("at %d there is %q, %v", at, got, err)
		}
	}
	if err := mapped(fd, page, 3*page, []byte("x")); !errors.Is(err, errNoPage) || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("a page behind the end: %v", err)
	}
	if err := mapped(-1, page, 0, []byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("no file: %v", err)
	}
}
