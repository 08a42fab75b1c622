package borrow

import (
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	failed := errors.New("failed")
	var got []int
	if err := Files([]*os.File{r, w, r}, func(fds []int) error { got = slices.Clone(fds); return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want what use returns", err)
	}
	if len(got) != 3 || got[0] != got[2] || got[0] == got[1] {
		t.Errorf("descriptors %v", got)
	}
	_ = r.Close()
	use := func([]int) error { t.Error("called without all files"); return nil }
	for _, c := range []struct {
		files []syscall.Conn
		want  Error
	}{
		{[]syscall.Conn{w, r}, Error{1, 2, os.ErrClosed}},
		{[]syscall.Conn{nil, w}, Error{0, 2, os.ErrInvalid}},
		{[]syscall.Conn{w, (*os.File)(nil)}, Error{1, 2, os.ErrInvalid}},
	} {
		e, ok := errors.AsType[*Error](Files(c.files, use))
		if !ok || e.Index != c.want.Index || e.Count != c.want.Count || !errors.Is(e, c.want.Err) {
			t.Errorf("got %v, want %v", e, &c.want)
		}
	}
	if err := Files[*os.File](nil, func(fds []int) error { got = fds; return nil }); err != nil || len(got) != 0 {
		t.Errorf("without files: %v, %v", got, err)
	}
}
