package proc

import (
	"errors"
	"os"
	"slices"
	"testing"
)

// TestFDs looks at a descriptor of this process by its number and as the caller.
func TestFDs(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	for _, pid := range []int{Caller, os.Getpid()} {
		fds, err := FDs(pid)
		if err != nil || !slices.Contains(fds, fd) || !slices.IsSorted(fds) {
			t.Errorf("process %d: %v, %v", pid, fds, err)
		}
		if link, err := FDLink(pid, fd); link != f.Name() || err != nil {
			t.Errorf("process %d: link %q, %v", pid, link, err)
		}
	}
	const none = 1 << 20
	for name, err := range map[string]error{
		"link": second(FDLink(Caller, none)),
		"list": second(FDs(1 << 30)),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of a descriptor that is not there: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
