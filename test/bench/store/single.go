package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
)

// batch is how many gets are timed together, after warm gets that are not timed: between two
// batches everything else is measured, which fills the caches with other data.
const (
	batch = 256
	warm  = 256
)

func sizes(most int) (ns []int) {
	for n := 10; n <= most; n *= 10 {
		ns = append(ns, n)
	}
	return ns
}

func name(i int) string { return fmt.Sprint("service ", i) }

// filled makes a store of n messages of one file each.
func filled(p *pool, n int, layout fdstore.Layout) (*fdstore.Store, error) {
	s, err := fdstore.New(fdstore.Options{Layout: layout, MaxMessages: -1})
	if err != nil {
		return nil, err
	}
	for i := range n {
		f := os.NewFile(uintptr(must(unix.FcntlInt(uintptr(p.of(i)), unix.F_DUPFD_CLOEXEC, 0))), "")
		_, err := s.AddNamed(name(i), f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return s, s.Seal()
}

// opened opens a store as a taker does.
func opened(s *fdstore.Store) (*fdstore.Store, error) {
	fd, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return fdstore.Open(fd)
}

// gets measures one taker: gets by number and by name, and the first get of a new taker.
func gets(p *pool, most int) (lines []*line, err error) {
	for _, n := range sizes(most) {
		nested, err := filled(p, n, fdstore.Nested)
		if err != nil {
			return nil, err
		}
		flat, err := filled(p, n, fdstore.Flat)
		if err != nil {
			return nil, err
		}
		taker, err := opened(nested)
		if err != nil {
			return nil, err
		}
		flatTaker, err := opened(flat)
		if err != nil {
			return nil, err
		}
		// A taker that has got files from every shard has the shards open.
		before := openFDs()
		for i := 0; i < n; i += 32 {
			fds, _, err := getOne(taker, i, nil)
			if err != nil {
				return nil, err
			}
			_ = unix.Close(fds[0])
		}
		kept := openFDs() - before
		lines = append(lines,
			&line{What: "get", How: "nested", Files: n, Unit: "ns", once: func() (float64, int, error) {
				v, err := timed(p, batch, func(fds []int) ([]int, int, error) { return getOne(taker, rand.N(n), fds) })
				return v, kept, err
			}},
			&line{What: "get", How: "flat", Files: n, Unit: "ns", once: func() (float64, int, error) {
				v, err := timed(p, 16, func(fds []int) ([]int, int, error) { return getOne(flatTaker, rand.N(n), fds) })
				return v, 0, err
			}},
			&line{What: "named", How: "nested", Files: n, Unit: "ns", once: func() (float64, int, error) {
				v, err := timed(p, batch, func(fds []int) ([]int, int, error) { return getNamed(taker, rand.N(n), fds) })
				return v, 0, err
			}},
			&line{What: "worker", How: "nested", Files: n, Unit: "ns", once: func() (float64, int, error) { return firstGet(p, nested, n) }},
		)
	}
	return lines, nil
}

func getOne(s *fdstore.Store, i int, fds []int) ([]int, int, error) {
	fds, err := s.GetFDs(fdstore.ID(i), fds)
	return fds, i, err
}

func getNamed(s *fdstore.Store, i int, fds []int) ([]int, int, error) {
	id, err := s.Lookup(name(i))
	if err != nil {
		return fds, i, err
	}
	return getOne(s, int(id), fds)
}

// timed returns the time of one get of n, and compares each file with the stored one.
func timed(p *pool, n int, get func(fds []int) ([]int, int, error)) (ns float64, err error) {
	fds, of := make([]int, 0, n), make([]int, n)
	for range min(warm, n) {
		if fds, _, err = get(fds[:0]); err != nil {
			return 0, err
		}
		_ = unix.Close(fds[0])
	}
	fds = fds[:0]
	begin := time.Now()
	for i := range n {
		if fds, of[i], err = get(fds); err != nil {
			return 0, err
		}
	}
	took := time.Since(begin)
	for i, fd := range fds {
		if err := same(fd, p.of(of[i])); err != nil {
			return 0, err
		}
		_ = unix.Close(fd)
	}
	return float64(took.Nanoseconds()) / float64(n), nil
}

// firstGet opens the store, looks up a name and gets the file, as each worker of a server
// does. It returns the median of several.
func firstGet(p *pool, s *fdstore.Store, n int) (float64, int, error) {
	var took []float64
	for range 31 {
		fd, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return 0, 0, err
		}
		i := rand.N(n)
		want := name(i)
		begin := time.Now()
		o, err := fdstore.Open(fd)
		if err != nil {
			return 0, 0, err
		}
		id, err := o.Lookup(want)
		if err != nil {
			return 0, 0, err
		}
		fds, err := o.GetFDs(id, make([]int, 0, 1))
		took = append(took, float64(time.Since(begin).Nanoseconds()))
		if err == nil {
			err = same(fds[0], p.of(i))
		}
		if err != nil {
			return 0, 0, err
		}
		_ = unix.Close(fds[0])
		_ = o.Close()
	}
	slices.Sort(took)
	return took[len(took)/2], 0, nil
}

// groups measures a file in a message of several.
func groups(p *pool, _ int) (lines []*line, err error) {
	s, err := fdstore.New(fdstore.Options{})
	if err != nil {
		return nil, err
	}
	for id, n := range []int{1, 10, 100, fdstore.MaxGroup} {
		group := make([]int, n)
		for i := range group {
			group[i] = p.of(i)
		}
		if _, err := s.AddFDs(group); err != nil {
			return nil, err
		}
		fds := make([]int, 0, n)
		lines = append(lines, &line{What: "group", How: "nested", Files: n, Unit: "ns a file", once: func() (float64, int, error) {
			var sum time.Duration
			for range batch {
				begin := time.Now()
				got, err := s.GetFDs(fdstore.ID(id), fds[:0])
				sum += time.Since(begin)
				if err != nil {
					return 0, 0, err
				}
				for i, fd := range got {
					if err := same(fd, p.of(i)); err != nil {
						return 0, 0, err
					}
					_ = unix.Close(fd)
				}
			}
			return float64(sum.Nanoseconds()) / float64(batch*n), 0, nil
		}})
	}
	return lines, nil
}

// others measures the kernel's own calls, adds, and the memory of messages.
func others(p *pool, most int) ([]*line, error) {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return nil, err
	}
	i := 0
	next := func() int { i++; return i }
	return []*line{
		{What: "get", How: "dup", Unit: "ns", once: func() (float64, int, error) {
			v, err := timed(p, batch, func(fds []int) ([]int, int, error) {
				k := next()
				fd, err := unix.FcntlInt(uintptr(p.of(k)), unix.F_DUPFD_CLOEXEC, 0)
				return append(fds, fd), k, err
			})
			return v, 0, err
		}},
		{What: "get", How: "pidfd_getfd", Unit: "ns", once: func() (float64, int, error) {
			v, err := timed(p, batch, func(fds []int) ([]int, int, error) {
				k := next()
				fd, err := unix.PidfdGetfd(self, p.of(k), 0)
				return append(fds, fd), k, err
			})
			return v, 0, err
		}},
		{What: "add", How: "nested", Files: most, Unit: "ns", once: func() (float64, int, error) { return adds(p, most, false) }},
		{What: "add named", How: "nested", Files: most, Unit: "ns", once: func() (float64, int, error) { return adds(p, most, true) }},
		{What: "memory", How: "nested", Files: most, Unit: "bytes a message", once: func() (float64, int, error) { return memory(p, most) }},
	}, nil
}

func adds(p *pool, n int, named bool) (float64, int, error) {
	s, err := fdstore.New(fdstore.Options{MaxMessages: -1})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = s.Close() }()
	files := make([]*os.File, poolSize)
	for i := range files {
		files[i] = os.NewFile(uintptr(must(unix.FcntlInt(uintptr(p.of(i)), unix.F_DUPFD_CLOEXEC, 0))), "")
		defer files[i].Close()
	}
	begin := time.Now()
	for i := range n {
		if named {
			_, err = s.AddNamed(name(i), files[i%poolSize])
		} else {
			_, err = s.Add(files[i%poolSize])
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n), 0, nil
}

// must returns the result of a call that can fail here only for lack of descriptors.
func must(fd int, err error) int {
	if err != nil {
		exit(err)
	}
	return fd
}
