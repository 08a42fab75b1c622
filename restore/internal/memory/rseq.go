package memory

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/program"
)

// Rseq gives the area that the C library has registered for restartable sequences of the
// calling thread (rseq(2)), the zero value if there is none. If it cannot be located the
// error says why: tasks then must keep the thread's local memory, see [Wanted].
func Rseq() (program.Rseq, error) {
	if !hasRseq() {
		return program.Rseq{}, nil
	}
	area, err := libraryArea()
	if err != nil {
		return program.Rseq{}, err
	}
	r, ok := rseqAt(threadPointer()+uint64(area.offset), area.size)
	if !ok {
		return program.Rseq{}, errElsewhere
	}
	return r, nil
}

// errElsewhere says that the calling thread has an area, but not where the C library says
// that those of its threads are.
var errElsewhere = errors.New("the kernel knows of another area than the C library tells of")

// OnThread calls do on the calling thread, or on a new one if the calling thread's area
// is where nobody tells. That is so on the main thread of a position-independent program
// without cgo: the dynamic linker has registered an area there, and then the Go runtime
// has put local memory of its own in the place of the linker's. What Go's own threads
// have is nothing. The caller is locked to its thread, and so is do.
func OnThread(do func()) {
	if _, err := Rseq(); !errors.Is(err, errElsewhere) {
		do()
		return
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		do()
	}()
	<-done
}

// rseqArea is what the GNU C library tells of its areas, since 2.35: the values of its
// variables __rseq_offset, from a thread pointer to the thread's area, and __rseq_size,
// how many bytes of an area are in use, see sys/rseq.h.
type rseqArea struct {
	offset int64
	size   uint32
}

// libraryArea reads the two out of this process's memory, where the symbol tables say
// that they lie: those of the dynamic linker, whose variables they are, or, in a program
// that was linked statically, those of the program. This package uses no C, so that no
// linker has bound the names for it.
var libraryArea = sync.OnceValues(func() (area rseqArea, err error) {
	file, bias, err := libraryFile()
	if err != nil {
		return area, err
	}
	defer func() { _ = file.Close() }() // it was only read
	symbols, err := file.DynamicSymbols()
	if err != nil || !slices.ContainsFunc(symbols, isRseqOffset) {
		symbols, err = file.Symbols()
	}
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return area, err
	}
	var offset [8]byte
	var size [4]byte
	for name, value := range map[string][]byte{rseqOffset: offset[:], "__rseq_size": size[:]} {
		i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name && s.Section != elf.SHN_UNDEF })
		if i < 0 {
			return area, fmt.Errorf("no symbol %s: the C library is not glibc 2.35 or newer, or linked statically and stripped", name)
		}
		if err := proc.ReadMemory(value, bias+symbols[i].Value); err != nil {
			return area, err
		}
	}
	area = rseqArea{int64(binary.NativeEndian.Uint64(offset[:])), binary.NativeEndian.Uint32(size[:])}
	if area.size == 0 {
		return area, errors.New("the C library has registered no area, so another library has")
	}
	return area, nil
})

const rseqOffset = "__rseq_offset"

func isRseqOffset(s elf.Symbol) bool { return s.Name == rseqOffset && s.Section != elf.SHN_UNDEF }

// libraryFile opens the file that the C library's variables come from, and gives what
// is added to the addresses in it. The caller closes it.
func libraryFile() (file *elf.File, bias uint64, err error) {
	maps, err := Own()
	if err != nil {
		return nil, 0, err
	}
	exe, err := proc.Executable()
	if err != nil {
		return nil, 0, err
	}
	aux, err := unix.Auxv()
	if err != nil {
		return nil, 0, err
	}
	const atBase = 7    // AT_BASE of getauxval(3)
	linker := uint64(0) // where the dynamic linker lies
	for _, a := range aux {
		if a[0] == atBase {
			linker = uint64(a[1])
		}
	}
	i := slices.IndexFunc(maps, func(m proc.Mapping) bool {
		return linker != 0 && m.Lo == linker || linker == 0 && m.Name == exe
	})
	if i < 0 {
		return nil, 0, errors.New("the map of this process does not show the dynamic linker")
	}
	if file, err = elf.Open(maps[i].Name); err != nil {
		return nil, 0, err
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_LOAD { // the lowest one comes first
			return file, maps[i].Lo - p.Vaddr&^(p.Align-1), nil
		}
	}
	return nil, 0, errors.Join(fmt.Errorf("%s has no segments", maps[i].Name), file.Close())
}
