package program

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const base = DefaultBase + BaseStep

func TestArenaRoundTrip(t *testing.T) {
	a := NewArena(base, 3)
	large := strings.Repeat("large", 1000)
	run := []string{"ls", "", "-l", "ls"}
	str, empty, long := a.String("a/b"), a.String(""), a.String(large)
	args := a.Strings(run)
	a.String("no null pointer")
	none := a.Strings(nil)
	a.String("nor is this")
	words := a.Words([]uint64{0, math.MaxUint64, 7})
	numbers := a.Int32s([]int32{-1, 3, math.MinInt32})
	raw := a.Bytes([]byte{1, 0, 2})

	for addr, want := range map[uint64]string{str: "a/b", empty: "", long: large} {
		if got, ok := StringAt(base, a.Data(), addr); !ok || got != want {
			t.Errorf("string %.9q: got %.9q, %v", want, got, ok)
		}
	}
	for addr, want := range map[uint64][]string{args: run, none: nil} {
		var got []string
		pointers := WordsAt(base, a.Data(), addr, len(want)+1)
		for _, p := range pointers[:len(want)] {
			s, _ := StringAt(base, a.Data(), p)
			got = append(got, s)
		}
		if diff := cmp.Diff(want, got); diff != "" || pointers[len(want)] != 0 {
			t.Errorf("strings (-want +got):\n%s\nthe last pointer is %#x", diff, pointers[len(want)])
		}
	}
	if got := WordsAt(base, a.Data(), words, 3); !slices.Equal(got, []uint64{0, math.MaxUint64, 7}) {
		t.Errorf("words %v", got)
	}
	if got := Int32sAt(base, a.Data(), numbers, 3); !slices.Equal(got, []int32{-1, 3, math.MinInt32}) {
		t.Errorf("numbers %v", got)
	}
	if got := At(base, a.Data(), raw, 3); !bytes.Equal(got, []byte{1, 0, 2}) {
		t.Errorf("bytes %v", got)
	}
}

func TestArenaStart(t *testing.T) {
	a := NewArena(base, 3)
	if got, want := a.Private(), uint64(base-PrivateGap); got != want {
		t.Errorf("private page at %#x, want %#x", got, want)
	}
	if got, want := a.Record(2), uint64(base+HeadSize+2*RecordSize); got != want {
		t.Errorf("record 2 at %#x, want %#x", got, want)
	}
	if got, want := a.Cell(), a.Record(3); got != want {
		t.Errorf("data starts at %#x, want %#x, behind the last record", got, want)
	}
	if slices.ContainsFunc(a.Data(), func(b byte) bool { return b != 0 }) {
		t.Error("Head and Records are not zero")
	}
}

// TestAtEdges holds that addresses which a broken plan might have are refused.
func TestAtEdges(t *testing.T) {
	data := []byte("abcd\x00fgh")
	for _, c := range []struct {
		name    string
		addr, n uint64
		want    []byte
	}{
		{"all", base, 8, data},
		{"last", base + 7, 1, data[7:]},
		{"nothing at the end", base + 8, 0, data[8:]},
		{"before", base - 1, 1, nil},
		{"over the end", base + 7, 2, nil},
		{"behind the end", base + 9, 0, nil},
		{"length that wraps", base + 4, math.MaxUint64, nil},
		{"address that wraps", math.MaxUint64, 2, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, At(base, data, c.addr, c.n)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	for name, addr := range map[string]uint64{"no NUL": base + 5, "before": base - 1, "end": base + 8, "behind": base + 9, "far": math.MaxUint64} {
		if s, ok := StringAt(base, data, addr); ok {
			t.Errorf("%s: string %q", name, s)
		}
	}
	if WordsAt(base, data, base, 2) != nil || Int32sAt(base, data, base+4, 2) != nil {
		t.Error("arrays over the end")
	}
}

// TestCloneArgs holds the order of struct clone_args, see clone3(2).
func TestCloneArgs(t *testing.T) {
	const flags, pidfd, child, parent, signal, setTID, setTIDSize = 0, 1, 2, 3, 4, 8, 9
	c := CloneArgs{Flags: 1 << 33, PIDFD: 0x111, Child: 0x222, Parent: 0x333, Signal: 17, PID: 4711}
	a := NewArena(base, 1)
	clone := func(c CloneArgs) []uint64 {
		addr := a.Clone(c)
		return WordsAt(base, a.Data(), addr, CloneArgsSize/8)
	}
	got := clone(c)
	want := make([]uint64, CloneArgsSize/8)
	want[flags], want[pidfd], want[child], want[parent], want[signal], want[setTID], want[setTIDSize] = c.Flags, c.PIDFD, c.Child, c.Parent, c.Signal, got[setTID], 1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if pids := Int32sAt(base, a.Data(), got[setTID], 1); !slices.Equal(pids, []int32{4711}) {
		t.Errorf("set_tid points at %v", pids)
	}
	c.PID = 0
	if got := clone(c); got[setTID] != 0 || got[setTIDSize] != 0 {
		t.Errorf("set_tid %#x of %d numbers where the kernel chooses", got[setTID], got[setTIDSize])
	}
}

func TestArenaDeduplicates(t *testing.T) {
	a := NewArena(base, 0)
	first := a.String("/dev/null")
	size := len(a.Data())
	if again := a.String("/dev/null"); again != first || len(a.Data()) != size {
		t.Error("an equal string was kept twice")
	}
	a.Forget()
	if again := a.String("/dev/null"); again == first || len(a.Data()) == size {
		t.Error("what was forgotten is found")
	}
	if a.String("/dev/nul") == first || a.Bytes([]byte("/dev/null")) == first {
		t.Error("what only starts alike is not equal")
	}
}

// TestArenaProperty writes what tasks may write, all cells, and then everything
// else must still be what was put in.
func TestArenaProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type item struct {
			addr uint64
			want []byte
		}
		var items []item
		var cells []uint64
		a := NewArena(base, rapid.IntRange(0, 3).Draw(t, "tasks"))
		start := uint64(len(a.Data()))
		// Zeros are likely, since a cell starts as 8 of them.
		content := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0, 1}), 0, 17)
		for range rapid.IntRange(1, 30).Draw(t, "items") {
			b := content.Draw(t, "content")
			if rapid.IntRange(0, 9).Draw(t, "seldom") == 0 {
				b = make([]byte, 5000)
			}
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				cells = append(cells, a.Cell())
			case 1:
				items = append(items, item{a.Words(make([]uint64, len(b))), make([]byte, 8*len(b))})
			case 2:
				items = append(items, item{a.Int32s(make([]int32, len(b))), make([]byte, 4*len(b))})
			case 3:
				items = append(items, item{a.String(string(b)), append(slices.Clone(b), 0)})
			default:
				items = append(items, item{a.Bytes(b), b})
			}
		}
		for i, cell := range cells {
			c := At(base, a.Data(), cell, 8)
			if c == nil || slices.Contains(cells[:i], cell) || !bytes.Equal(c, make([]byte, 8)) {
				t.Fatalf("cell %d at %#x is not its own, or not zero: %x", i, cell, c)
			}
			copy(c, "\xff\xff\xff\xff\xff\xff\xff\xff")
		}
		for _, it := range items {
			if got := At(base, a.Data(), it.addr, uint64(len(it.want))); !bytes.Equal(got, it.want) {
				t.Fatalf("at %#x: got %x, want %x", it.addr, got, it.want)
			}
			if it.addr%8 != 0 || it.addr < base+start {
				t.Fatalf("%#x is not aligned, or lies in Head or Records", it.addr)
			}
		}
	})
}
