package program

import (
	"encoding/binary"
)

// Arena collects the data that ops refer to and gives out the addresses that it
// will have. Equal data is kept once.
type Arena struct {
	Base uint64
	data []byte // from Base on
	seen map[string]uint64
	text []byte // of one call, used again by the next
}

// NewArena makes an arena for a plan of n processes: Head and Records come first.
func NewArena(base uint64, n int) *Arena {
	return &Arena{
		Base: base,
		data: make([]byte, HeadSize+n*RecordSize, HeadSize+n*(RecordSize+CloneArgsSize+128)),
		seen: map[string]uint64{},
	}
}

// Forget drops the index by which equal data is found. Data that is put in later is stored
// again even if it was there.
func (a *Arena) Forget() { a.seen = map[string]uint64{} }

// Private gives the address of the private page.
func (a *Arena) Private() uint64 { return a.Base - PrivateGap }

// Record gives the address of the Record of a process.
func (a *Arena) Record(process int) uint64 { return a.Base + HeadSize + uint64(process)*RecordSize }

// AddRecord makes a Record for a process that is no task, and gives its number.
func (a *Arena) AddRecord() int {
	for len(a.data)%8 != 0 || (len(a.data)-HeadSize)%RecordSize != 0 {
		a.data = append(a.data, 0)
	}
	n := (len(a.data) - HeadSize) / RecordSize
	a.put(make([]byte, RecordSize))
	return n
}

// Data gives everything from Base on, Head and Records still zero.
func (a *Arena) Data() []byte { return a.data }

// Bytes gives the address of a copy of b.
func (a *Arena) Bytes(b []byte) uint64 {
	const small = 4096 // larger data is not likely to come twice
	if len(b) > small {
		return a.put(b)
	}
	if addr, ok := a.seen[string(b)]; ok {
		return addr
	}
	addr := a.put(b)
	a.seen[string(b)] = addr
	return addr
}

// Once is Bytes without the search for equal data, for data that is unlikely to come twice.
func (a *Arena) Once(b []byte) uint64 { return a.put(b) }

// String gives the address of s with a NUL behind it.
func (a *Arena) String(s string) uint64 {
	a.text = append(append(a.text[:0], s...), 0)
	return a.Bytes(a.text)
}

// Strings gives the address of an array of pointers to the strings with a null
// pointer behind them, as execve takes it.
func (a *Arena) Strings(ss []string) uint64 {
	words := make([]uint64, len(ss)+1)
	for i, s := range ss {
		words[i] = a.String(s)
	}
	return a.Words(words)
}

// Words gives the address of an array of 64-bit numbers.
func (a *Arena) Words(words []uint64) uint64 {
	return a.Bytes(a.encode(words))
}

// Int32s gives the address of an array of 32-bit numbers.
func (a *Arena) Int32s(numbers []int32) uint64 {
	a.text = a.text[:0]
	for _, n := range numbers {
		a.text = binary.NativeEndian.AppendUint32(a.text, uint32(n))
	}
	return a.Bytes(a.text)
}

func (a *Arena) encode(words []uint64) []byte {
	a.text = a.text[:0]
	for _, w := range words {
		a.text = binary.NativeEndian.AppendUint64(a.text, w)
	}
	return a.text
}

// Cell gives the address of 8 bytes of its own that may be written.
func (a *Arena) Cell() uint64 { return a.put(make([]byte, 8)) }

// Operands of futex(2) by which a task counts itself, see [Arena.CountDown].
const (
	futexWakeOp = 5
	everybody   = 1<<31 - 1
	countDown   = 1<<28 | 0<<24 | 0xfff<<12 | 1 // FUTEX_OP: *uaddr2 += -1, wake if it was 1
)

// CountDown gives the arguments of the futex(2) by which a task takes one from a count
// of tasks, HeadLeft or HeadStarted: FUTEX_WAKE_OP, which changes the count atomically
// and wakes who waits for it if it is 0 then. The flag beside the count stays.
func (a *Arena) CountDown(count uint64) []uint64 {
	return []uint64{a.Base + HeadDummy, futexWakeOp, 1, everybody, a.Base + count, countDown}
}

// CloneArgs describes what clone3 is asked for.
type CloneArgs struct {
	Flags  uint64
	PIDFD  uint64 // address of an int32
	Child  uint64 // address of an int32: CLONE_CHILD_SETTID
	Parent uint64 // address of an int32: CLONE_PARENT_SETTID; not with CLONE_PIDFD, for clone(2)
	Signal uint64
	PID    int32 // set_tid; 0: the kernel chooses
}

// OldClone is the part of struct clone_args that clone(2) can do, see clone3(2).
type OldClone struct {
	Flags, PIDFD, Child, Parent, Signal uint64
}

// Clone gives the address of a struct clone_args.
func (a *Arena) Clone(c CloneArgs) uint64 {
	var setTID, setTIDSize uint64
	if c.PID != 0 {
		setTID, setTIDSize = a.Int32s([]int32{c.PID}), 1
	}
	words := [CloneArgsSize / 8]uint64{c.Flags, c.PIDFD, c.Child, c.Parent, c.Signal, 0, 0, 0, setTID, setTIDSize, 0}
	return a.put(a.encode(words[:])) // never twice the same
}

func (a *Arena) put(b []byte) uint64 {
	for len(a.data)%8 != 0 {
		a.data = append(a.data, 0)
	}
	addr := a.Base + uint64(len(a.data))
	a.data = append(a.data, b...)
	return addr
}

// At gives the n bytes at addr, or nil if they are not in the arena.
func At(base uint64, data []byte, addr, n uint64) []byte {
	if addr < base || addr-base > uint64(len(data)) || uint64(len(data))-(addr-base) < n {
		return nil
	}
	return data[addr-base:][:n]
}

// StringAt gives the NUL-terminated string at addr.
func StringAt(base uint64, data []byte, addr uint64) (string, bool) {
	if addr < base || addr-base >= uint64(len(data)) {
		return "", false
	}
	rest := data[addr-base:]
	for i, c := range rest {
		if c == 0 {
			return string(rest[:i]), true
		}
	}
	return "", false
}

// WordsAt gives the n 64-bit numbers at addr.
func WordsAt(base uint64, data []byte, addr uint64, n int) []uint64 {
	b := At(base, data, addr, uint64(n)*8)
	if b == nil {
		return nil
	}
	words := make([]uint64, n)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(b[8*i:])
	}
	return words
}

// Int32sAt gives the n 32-bit numbers at addr.
func Int32sAt(base uint64, data []byte, addr uint64, n int) []int32 {
	b := At(base, data, addr, uint64(n)*4)
	if b == nil {
		return nil
	}
	numbers := make([]int32, n)
	for i := range numbers {
		numbers[i] = int32(binary.NativeEndian.Uint32(b[4*i:]))
	}
	return numbers
}
