package table

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"regrow/restore/internal/plan"
)

// TestNumbered compares a numbered map with Go's.
func TestNumbered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var got Numbered[int]
		want := map[int]int{}
		for range rapid.IntRange(0, 200).Draw(t, "ops") {
			n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(60, 130), rapid.IntRange(1022, 1026), rapid.Just(1<<20)).Draw(t, "number")
			switch rapid.SampledFrom([]string{"set", "set", "remove", "clone", "reset"}).Draw(t, "op") {
			case "set":
				v := rapid.IntRange(0, 3).Draw(t, "value")
				got.Set(n, v)
				want[n] = v
			case "remove":
				got.Remove(n)
				delete(want, n)
			case "clone":
				other := got.Clone()
				got.Set(n, -1)
				got = other
			case "reset":
				if n%8 == 0 { // rarely
					got.Reset()
					clear(want)
				}
			}
			v, there := got.Get(n)
			if wantV, wantThere := want[n]; v != wantV || there != wantThere || got.Has(n) != there {
				t.Fatalf("number %d: %d %v, want %d %v", n, v, there, wantV, wantThere)
			}
			if all := maps.Collect(got.All()); !maps.Equal(all, want) || got.Count != len(want) {
				t.Fatalf("%v, %d in all, want %v", all, got.Count, want)
			}
			if numbers := got.Numbers(); !slices.Equal(numbers, slices.Sorted(maps.Keys(want))) || got.Has(-1) {
				t.Fatalf("numbers %v, want those of %v", numbers, want)
			}
		}
	})
}

// TestByFile checks that a reset removes everything, also after 4 billion resets.
func TestByFile(t *testing.T) {
	m := NewByFile[int](3, 2)
	fe, other := plan.FileEnd{File: 2, End: 1}, plan.FileEnd{File: 2, End: 0}
	for _, round := range []uint32{1, 2, 1<<32 - 1} {
		m.round = round
		m.Set(fe, 7)
		m.Set(other, 8)
		m.Remove(other)
		if v, there := m.Get(fe); v != 7 || !there || m.Value(other) != 0 || m.Has(other) {
			t.Fatalf("round %d: %d %v, other %v", round, v, there, m.Has(other))
		}
		m.Reset()
		if m.Has(fe) || m.Has(other) {
			t.Fatalf("round %d: still there after a reset", round)
		}
	}
}

// TestNumberedReset checks that a reset drops a large map, and that the map works like a new
// one afterwards.
func TestNumberedReset(t *testing.T) {
	var m Numbered[string]
	for n := range 3000 {
		m.Set(n, "x")
	}
	if len(m.low) != 1024 || len(m.high) != 3000-1024 {
		t.Errorf("%d numbers in the array, %d in the map", len(m.low), len(m.high))
	}
	m.Reset()
	if m.high != nil || m.Count != 0 || m.Has(5) || m.Has(2000) {
		t.Errorf("after a reset: %d numbers, %d in the map", m.Count, len(m.high))
	}
	m.Set(9, "y")
	for n := range m.All() {
		if n != 9 {
			t.Errorf("%d is back", n)
		}
		break
	}
	m.Set(255, "z") // far from others: in the map
	if len(m.low) > 64 || !m.Has(255) {
		t.Errorf("one high number makes an array of %d", len(m.low))
	}
}
