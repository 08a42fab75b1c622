package restore

import (
	"iter"
	"maps"
	"slices"

	"regrow/restore/internal/plan"
)

// numbered maps descriptor numbers to values. Nearly all numbers are low and close
// together: these stand in an array, the others in a map.
type numbered[T any] struct {
	low   []held[T] // by number
	high  map[int]T // none that the array has a place for
	count int
}

// held is a number's value, if it has one.
type held[T any] struct {
	value T
	there bool
}

func (m *numbered[T]) get(n int) (value T, there bool) {
	if uint(n) < uint(len(m.low)) {
		h := &m.low[n]
		return h.value, h.there
	}
	value, there = m.high[n]
	return value, there
}

func (m *numbered[T]) has(n int) bool {
	_, there := m.get(n)
	return there
}

func (m *numbered[T]) set(n int, value T) {
	switch {
	case uint(n) < uint(len(m.low)):
	case m.fits(n):
		m.grow(n + 1)
	default:
		if m.high == nil {
			m.high = map[int]T{}
		}
		m.count -= len(m.high)
		m.high[n] = value
		m.count += len(m.high)
		return
	}
	if !m.low[n].there {
		m.count++
	}
	m.low[n] = held[T]{value, true}
}

// fits reports whether the array may become so long that it has a number: a low
// one, or one that leaves it no emptier than three in four. The model has a table
// for each task, and one high number must not make all of them large.
func (m *numbered[T]) fits(n int) bool {
	const low, most = 64, 1024
	return uint(n) < low || uint(n) < most && n < 4*m.count
}

// grow makes the array longer, and takes what it then has a place for out of the
// map.
func (m *numbered[T]) grow(size int) {
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

func (m *numbered[T]) remove(n int) {
	if uint(n) < uint(len(m.low)) {
		if m.low[n].there {
			m.count--
		}
		m.low[n] = held[T]{}
		return
	}
	m.count -= len(m.high)
	delete(m.high, n)
	m.count += len(m.high)
}

// reset removes all. A map that was large goes: clearing it would cost as much as
// its largest size ever.
func (m *numbered[T]) reset() {
	const large = 1024
	if len(m.high) > large {
		m.high = nil
	}
	clear(m.low)
	clear(m.high)
	m.low, m.count = m.low[:0], 0
}

func (m *numbered[T]) clone() numbered[T] {
	return numbered[T]{slices.Clone(m.low), maps.Clone(m.high), m.count}
}

// all gives the numbers that have a value, ascending.
func (m *numbered[T]) all() iter.Seq2[int, T] {
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

// numbers gives the numbers that have a value, ascending.
func (m *numbered[T]) numbers() []int {
	numbers := make([]int, 0, m.count)
	for n := range m.all() {
		numbers = append(numbers, n)
	}
	return numbers
}

// byFile maps the ends of open files to values, for one task after the other.
// All tasks use the same array, and a reset costs nothing.
type byFile[T any] struct {
	ends  int          // of a file at most
	round uint32       // of the values that count
	slots []roundOf[T] // by file and end
}

// roundOf is a value and the round that it was set in.
type roundOf[T any] struct {
	value T
	round uint32
}

func newByFile[T any](files, ends int) byFile[T] {
	return byFile[T]{ends: ends, round: 1, slots: make([]roundOf[T], files*ends)}
}

func (m *byFile[T]) slot(fe plan.FileEnd) *roundOf[T] {
	return &m.slots[int(fe.File)*m.ends+int(fe.End)]
}

func (m *byFile[T]) get(fe plan.FileEnd) (value T, there bool) {
	if s := m.slot(fe); s.round == m.round {
		return s.value, true
	}
	return value, false
}

func (m *byFile[T]) has(fe plan.FileEnd) bool { return m.slot(fe).round == m.round }

// value gives what is set, or zero.
func (m *byFile[T]) value(fe plan.FileEnd) T {
	value, _ := m.get(fe)
	return value
}

func (m *byFile[T]) set(fe plan.FileEnd, value T) { *m.slot(fe) = roundOf[T]{value, m.round} }

func (m *byFile[T]) remove(fe plan.FileEnd) { m.slot(fe).round = 0 }

func (m *byFile[T]) reset() {
	if m.round++; m.round == 0 { // after 4 billion tasks
		clear(m.slots)
		m.round = 1
	}
}
