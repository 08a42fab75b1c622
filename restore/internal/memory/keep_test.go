package memory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/restore/internal/program"
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
		{program.Range{Lo: 0x400000, Hi: 0x401000}, "/opt/a  b/re grow", false},
		{program.Range{Lo: 0x401000, Hi: 0x402000}, "", true},
		{program.Range{Lo: 0x7fff0000, Hi: 0x7fff1000}, "[stack]", true},
		{program.Range{Lo: 0x10000000, Hi: 0x10001000}, "/dev/zero (deleted)", true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Mapping{})); diff != "" {
		t.Error(diff)
	}
	for _, odd := range []string{"x\n", "zz-1 r-xp 0 0:0 0\n"} {
		if _, err := parseMaps(odd); err == nil {
			t.Errorf("%q is accepted", odd)
		}
	}
}
