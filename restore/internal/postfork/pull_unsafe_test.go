package postfork

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/restore/internal/program"
)

// free gives the n lowest descriptors that are free. Nothing else in this test
// binary opens files meanwhile.
func free(t *testing.T, n int) []int32 {
	t.Helper()
	numbers := make([]int32, n)
	for i := range numbers {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		numbers[i] = int32(fd)
	}
	return numbers
}

// store makes a store with messages of so many files, each standard input.
func store(t *testing.T, counts ...int) *fdstore.Store {
	t.Helper()
	s, err := fdstore.New(fdstore.Options{Layout: fdstore.Flat})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for id, count := range counts {
		if got, err := s.AddFDs(make([]int, count)); err != nil || int(got) != id {
			t.Fatal(got, err)
		}
	}
	return s
}

// TestPull pulls out of a real store. What is refused must leave no descriptor.
func TestPull(t *testing.T) {
	a, h, priv := head(t)
	s := store(t, 1, 3)
	numbersAt := a.Base + program.HeadSize + 512
	numbers := (*[4]int32)(unsafe.Pointer(&a.Bytes()[program.HeadSize+512]))

	for _, c := range []struct {
		name           string
		message, count uint64
		number         uint64 // added to the store's
		land           int32  // added to the number that the last file should land at
		room           int    // descriptors that the limit allows, 0: enough
		want           syscall.Errno
	}{
		{name: "one", message: 0, count: 1},
		{name: "three", message: 1, count: 3},
		{name: "another number", message: 1, count: 3, land: 1, want: program.ReasonUnwanted},
		{name: "another store", message: 1, count: 3, number: 1, want: again},
		{name: "another count", message: 1, count: 2, want: again},
		{name: "behind the end", message: 2, count: 1, want: again},
		{name: "no room for all", message: 1, count: 3, room: 2, want: unix.EMFILE},
	} {
		t.Run(c.name, func(t *testing.T) {
			landing := free(t, 4)
			copy(numbers[:], landing)
			numbers[c.count-1] += c.land
			h.StoreNumber = s.Number() + c.number
			if c.room > 0 {
				limit(t, uint64(landing[c.room]))
			}
			e := pull(h, priv, &[6]uint64{uint64(s.FD()), uint64(fdstore.Flat.Place(fdstore.ID(c.message), int(c.count)).Word), c.count, numbersAt, unix.MSG_CMSG_CLOEXEC})
			if e != c.want {
				t.Errorf("got %d, want %d", e, c.want)
			}
			for i, fd := range landing {
				_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
				landed := (e == 0 || e == program.ReasonUnwanted) && uint64(i) < c.count
				if (err == nil) != landed {
					t.Errorf("descriptor %d is open: %v, want %v", fd, err == nil, landed)
				}
				if err == nil {
					_ = unix.Close(int(fd))
				}
			}
		})
	}
}

// TestGiveBack lets a wrong message land around a number that is taken: that stays.
func TestGiveBack(t *testing.T) {
	a, h, priv := head(t)
	s := store(t, 4)
	landing := free(t, 5)
	if err := unix.Dup3(0, int(landing[2]), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(int(landing[2]))
	h.StoreNumber = s.Number() + 1
	if e := pull(h, priv, &[6]uint64{uint64(s.FD()), uint64(fdstore.Flat.Place(0, 4).Word), 4, a.Base + program.HeadSize}); e != again {
		t.Errorf("got %d, want %d", e, again)
	}
	if n := received(priv); n != 4 {
		t.Errorf("%d descriptors came", n)
	}
	for i, fd := range landing {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); (err == nil) != (i == 2) {
			t.Errorf("descriptor %d is open: %v", fd, err == nil)
		}
	}
}

// limit lowers the limit of open files for a test.
func limit(t *testing.T, n uint64) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}, nil); err != nil {
		t.Fatal(os.NewSyscallError("prlimit", err))
	}
	t.Cleanup(func() {
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestTryAgain holds that pulls which keep failing end, and at once if the
// restore is over.
func TestTryAgain(t *testing.T) {
	_, h, priv := head(t)
	tries := (*uint64)(unsafe.Add(priv, program.PrivTries))
	for _, c := range []struct {
		name   string
		before uint64
		left   uint32
		want   syscall.Errno
	}{
		{"first", 0, 1, 0},
		{"with a pause", pullSpins + 1, 1, 0},
		{"last", pullTries - 1, 1, 0},
		{"too many", pullTries, 1, program.ReasonForeign},
		{"over", 0, program.AbortBit | 1, program.ReasonCanceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			*tries, h.Left = c.before, c.left
			if e := tryAgain(h, priv, &[6]uint64{1: 3}); e != c.want || *tries != c.before+1 {
				t.Errorf("got %d after %d tries, want %d after %d", e, *tries, c.want, c.before+1)
			}
		})
	}
}
