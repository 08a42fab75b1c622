package table

import (
	"iter"
	"maps"
	"slices"

	"regrow/restore/internal/plan"
)

// Numbered maps descriptor numbers to values. Nearly all numbers are low and close
// together: these stand in an array, the others in a map.
type Numbered[T any] struct {
	low   []held[T] // by number
	high  map[int]T // none that the array has a place for
	Count int
}

// held is a number's value, if it has one.
type held[T any] struct {
	value T
	there bool
}

// Get gives the value of a number, if it has one.
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

// Set gives a number a value.
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

// fits reports whether the array may become so long that it has a number: a low
// one, or one that leaves it no emptier than three in four. The model has a table
// for each task, and one high number must not make all of them large.
func (m *Numbered[T]) fits(n int) bool {
	const low, most = 64, 1024
	return uint(n) < low || uint(n) < most && n < 4*m.Count
}

// grow makes the array longer, and takes what it then has a place for out of the
// map.
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

// Remove takes the value of a number away.
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

// Reset removes all. A map that was large goes: clearing it would cost as much as
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

// Clone gives a copy that shares nothing.
func (m *Numbered[T]) Clone() Numbered[T] {
	return Numbered[T]{slices.Clone(m.low), maps.Clone(m.high), m.Count}
}

// All gives the numbers that have a value, ascending.
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

// Numbers gives the numbers that have a value, ascending.
func (m *Numbered[T]) Numbers() []int {
	numbers := make([]int, 0, m.Count)
	for n := range m.All() {
		numbers = append(numbers, n)
	}
	return numbers
}

// ByFile maps the ends of open files to values, for one task after the other.
// All tasks use the same array, and a reset costs nothing.
type ByFile[T any] struct {
	ends  int          // of a file at most
	round uint32       // of the values that count
	slots []roundOf[T] // by file and end
}

// roundOf is a value and the round that it was set in.
type roundOf[T any] struct {
	value T
	round uint32
}

// NewByFile has room for so many open files, each with so many ends at most.
func NewByFile[T any](files, ends int) ByFile[T] {
	return ByFile[T]{ends: ends, round: 1, slots: make([]roundOf[T], files*ends)}
}

func (m *ByFile[T]) slot(fe plan.FileEnd) *roundOf[T] {
	return &m.slots[int(fe.File)*m.ends+int(fe.End)]
}

// Get gives the value of an open file, if it has one.
func (m *ByFile[T]) Get(fe plan.FileEnd) (value T, there bool) {
	if s := m.slot(fe); s.round == m.round {
		return s.value, true
	}
	return value, false
}

// Has reports whether an open file has a value.
func (m *ByFile[T]) Has(fe plan.FileEnd) bool { return m.slot(fe).round == m.round }

// Value gives what is set, or zero.
func (m *ByFile[T]) Value(fe plan.FileEnd) T {
	value, _ := m.Get(fe)
	return value
}

// Set gives an open file a value.
func (m *ByFile[T]) Set(fe plan.FileEnd, value T) { *m.slot(fe) = roundOf[T]{value, m.round} }

// Remove takes the value of an open file away.
func (m *ByFile[T]) Remove(fe plan.FileEnd) { m.slot(fe).round = 0 }

// Reset removes all, for the next task.
func (m *ByFile[T]) Reset() {
	if m.round++; m.round == 0 { // after 4 billion tasks
		clear(m.slots)
		m.round = 1
	}
}
