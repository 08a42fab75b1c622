package proc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMaps(t *testing.T) {
	got, err := parseMaps(`00400000-00401000 r-xp 00001000 fd:00 42                         /opt/a  b/re grow
00401000-00402000 rw-p 00000000 00:00 0 
7fff0000-7fff1000 rw-p 00000000 00:00 0                          [stack]
10000000-10001000 rw-s 00000000 00:01 7                          /dev/zero (deleted)
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Mapping{
		{0x400000, 0x401000, false, "/opt/a  b/re grow"},
		{0x401000, 0x402000, true, ""},
		{0x7fff0000, 0x7fff1000, true, "[stack]"},
		{0x10000000, 0x10001000, true, "/dev/zero (deleted)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, odd := range []string{"x\n", "zz-1 r-xp 0 0:0 0\n"} {
		if _, err := parseMaps(odd); err == nil {
			t.Errorf("%q is accepted", odd)
		}
	}
}

// TestOwnMemory looks at this process.
func TestOwnMemory(t *testing.T) {
	exe, err := Executable()
	if err != nil {
		t.Fatal(err)
	}
	maps, err := Maps()
	if err != nil {
		t.Fatal(err)
	}
	s, err := OwnSegments()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range maps {
		found = found || m.Name == exe && m.Lo <= s.StartCode && s.StartCode < m.Hi
	}
	if !found {
		t.Errorf("the code of %s, at %#x, is in none of %v", exe, s.StartCode, maps)
	}
}
