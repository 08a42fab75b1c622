package kind_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// TestUnexpected holds that all differences are said, each with both values.
func TestUnexpected(t *testing.T) {
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n, Set: true} }
	all := kind.Expect{
		Type: tasktree.Text{Value: "file"}, Flags: kind.Flags{Bits: unix.O_RDWR | unix.O_APPEND}, Size: number(5), Mode: number(0o640),
		Owner: kind.Owner{UID: number(1), GID: number(2)}, Dev: number(3), Ino: number(4),
	}
	right := tasktree.Found{Mode: unix.S_IFREG | 0o640, UID: 1, GID: 2, Size: 5, Dev: 3, Ino: 4, Flags: unix.O_RDWR | unix.O_APPEND | unix.O_NONBLOCK | 0o100000, Open: true}
	path := right
	path.Open, path.Flags = false, 0
	for _, c := range []struct {
		name   string
		expect kind.Expect
		is     tasktree.Found
		want   []string
	}{
		{"nothing", kind.Expect{}, tasktree.Found{}, nil},
		{"all", all, right, nil},
		{"a path has no flags", all, path, nil},
		{"none", all, tasktree.Found{Mode: unix.S_IFIFO | 0o600, Flags: unix.O_WRONLY, Open: true}, []string{
			"expect.kind: expected file, found fifo", "expect.flags: expected [O_RDWR, O_APPEND], found [O_WRONLY]", "expect.size: expected 5, found 0",
			"expect.mode: expected 0640, found 0600", "expect.owner: expected 1, found 0", "expect.owner: expected 2, found 0", "expect.inode: expected [3 4], found [0 0]",
		}},
		{"the access mode", kind.Expect{Flags: kind.Flags{Bits: unix.O_RDONLY, Set: true}}, right, []string{"expect.flags: expected [O_RDONLY], found [O_RDWR, O_APPEND, O_NONBLOCK]"}},
	} {
		var got []string
		for _, p := range c.expect.Unexpected(c.is) {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
