package table

import (
	"iter"
	"maps"
	"slices"

	"regrow/restore/internal/plan"
)

// Numbered maps descriptor numbers to values. Nearly all numbers are low and close together:
// these are in an array, the others in a map.
type Numbered[T any] struct {
	low   []held[T] // by number
	high  map[int]T // numbers beyond the array
	Count int
}

// held is the value of a number, if it has one.
type held[T any] struct {
	value T
	there bool
}

// Get returns the value of a number, if it has one.
func (m *Numbered[T]) Get(n int) (value T, there bool) {
	if uint(n) < uint(len(m.low)) {
		h := &m.low[n]
		return h.value, h.there
	}
	value, there = m.high[n]
	return value, there
}

// Has reports whether a number has a value.
func (m *Numbered[T]) Has(n int) bool {
	_, there := m.Get(n)
	return there
}

// Set sets the value of a number.
func (m *Numbered[T]) Set(n int, value T) {
	switch {
	case uint(n) < uint(len(m.low)):
	case m.fits(n):
		m.grow(n + 1)
	default:
		if m.high == nil {
			m.high = map[int]T{}
		}
		m.Count -= len(m.high)
		m.high[n] = value
		m.Count += len(m.high)
		return
	}
	if !m.low[n].there {
		m.Count++
	}
	m.low[n] = held[T]{value, true}
}

// fits reports whether the array may grow to contain a number: a low one, or one with
// which the array is at least a quarter full. The model has a table for each task, so
// one high number must not make all of them large.
func (m *Numbered[T]) fits(n int) bool {
	const low, most = 64, 1024
	return uint(n) < low || uint(n) < most && n < 4*m.Count
}

// grow makes the array longer, and moves numbers that it then contains out of the map.
func (m *Numbered[T]) grow(size int) {
	const atLeast = 32
	from := len(m.low)
	m.low = slices.Grow(m.low, max(size, atLeast)-from)[:size]
	if len(m.high) == 0 {
		return
	}
	for n := from; n < size; n++ {
		if value, there := m.high[n]; there {
			m.low[n] = held[T]{value, true}
			delete(m.high, n)
		}
	}
}

// Remove removes the value of a number.
func (m *Numbered[T]) Remove(n int) {
	if uint(n) < uint(len(m.low)) {
		if m.low[n].there {
			m.Count--
		}
		m.low[n] = held[T]{}
		return
	}
	m.Count -= len(m.high)
	delete(m.high, n)
	m.Count += len(m.high)
}

// Reset removes all values. It drops a large map, because the cost of clearing a map depends on
// its largest size ever.
func (m *Numbered[T]) Reset() {
	const large = 1024
	if len(m.high) > large {
		m.high = nil
	}
	clear(m.low)
	clear(m.high)
	m.low, m.Count = m.low[:0], 0
}

// Clone returns a copy that shares no memory with m.
func (m *Numbered[T]) Clone() Numbered[T] {
	return Numbered[T]{slices.Clone(m.low), maps.Clone(m.high), m.Count}
}

// All returns the numbers that have a value, ascending, and their values.
func (m *Numbered[T]) All() iter.Seq2[int, T] {
	return func(yield func(int, T) bool) {
		for n := range m.low {
			if h := &m.low[n]; h.there && !yield(n, h.value) {
				return
			}
		}
		if len(m.high) == 0 {
			return
		}
		for _, n := range slices.Sorted(maps.Keys(m.high)) {
			if !yield(n, m.high[n]) {
				return
			}
		}
	}
}

// Numbers returns the numbers that have a value, ascending.
func (m *Numbered[T]) Numbers() []int {
	numbers := make([]int, 0, m.Count)
	for n := range m.All() {
		numbers = append(numbers, n)
	}
	return numbers
}

// ByFile maps the ends of open files to values, for one task after the other. All tasks use
// the same array, and a reset takes constant time.
type ByFile[T any] struct {
	ends  int          // the most ends of a file
	round uint32       // round of the valid values
	slots []roundOf[T] // by file and end
}

// roundOf is a value and the round in which it was set.
type roundOf[T any] struct {
	value T
	round uint32
}

// NewByFile returns a ByFile for that many open files, each with at most that many ends.
func NewByFile[T any](files, ends int) ByFile[T] {
	return ByFile[T]{ends: ends, round: 1, slots: make([]roundOf[T], files*ends)}
}

func (m *ByFile[T]) slot(fe plan.FileEnd) *roundOf[T] {
	return &m.slots[int(fe.File)*m.ends+int(fe.End)]
}

// Get returns the value of an open file, if it has one.
func (m *ByFile[T]) Get(fe plan.FileEnd) (value T, there bool) {
	if s := m.slot(fe); s.round == m.round {
		return s.value, true
	}
	return value, false
}

// Has reports whether an open file has a value.
func (m *ByFile[T]) Has(fe plan.FileEnd) bool { return m.slot(fe).round == m.round }

// Value returns the value of an open file, or zero.
func (m *ByFile[T]) Value(fe plan.FileEnd) T {
	value, _ := m.Get(fe)
	return value
}

// Set sets the value of an open file.
func (m *ByFile[T]) Set(fe plan.FileEnd, value T) { *m.slot(fe) = roundOf[T]{value, m.round} }

// Remove removes the value of an open file.
func (m *ByFile[T]) Remove(fe plan.FileEnd) { m.slot(fe).round = 0 }

// Reset removes all values, for the next task.
func (m *ByFile[T]) Reset() {
	if m.round++; m.round == 0 { // after 4 billion tasks
		clear(m.slots)
		m.round = 1
	}
}
