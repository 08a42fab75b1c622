package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/internal/service"
)

const (
	takerFiles = 1000 // in the store and in the service
	takerGets  = 8192 // of all takers of a round together
)

// takers measures several processes that get files at the same time.
func takers(p *pool, _ int) (lines []*line, err error) {
	s, err := filled(p, takerFiles, fdstore.Nested)
	if err != nil {
		return nil, err
	}
	v, err := service.Start(service.Options{})
	if err != nil {
		return nil, err
	}
	for i := range takerFiles {
		if err := v.Push(service.ID(i), p.of(i)); err != nil {
			return nil, err
		}
	}
	for _, n := range []int{1, 2, 8, 64} {
		lines = append(lines,
			&line{What: "takers", How: "nested", Files: takerFiles, N: n, Unit: "ns", once: func() (float64, int, error) {
				return race(p, n, "store", func(cmd *exec.Cmd) error { return s.AddToCmd(cmd) })
			}},
			&line{What: "takers", How: "service", Files: takerFiles, N: n, Unit: "ns", once: func() (float64, int, error) {
				return race(p, n, "service", func(cmd *exec.Cmd) error {
					door, err := unix.FcntlInt(uintptr(v.Door()), unix.F_DUPFD_CLOEXEC, 0)
					cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(door), "door")}
					cmd.Env = append(cmd.Env, fmt.Sprint("BENCH_STORE_SERVICE=", v.Number()))
					return err
				})
			}})
	}
	return lines, nil
}

// race starts n takers, has them get files at the same time, and returns the total time
// divided by the number of gets.
func race(p *pool, n int, kind string, give func(cmd *exec.Cmd) error) (ns float64, fds int, err error) {
	inodes := make([]string, poolSize)
	for i := range inodes {
		var st unix.Stat_t
		if err := unix.Fstat(p.fds[i], &st); err != nil {
			return 0, 0, err
		}
		inodes[i] = strconv.FormatUint(st.Ino, 10)
	}
	gate, open, err := os.Pipe()
	if err != nil {
		return 0, 0, err
	}
	defer open.Close()
	defer gate.Close()
	cmds, outs := make([]*exec.Cmd, n), make([]*bufio.Reader, n)
	for i := range cmds {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), takerEnv+"="+kind, "BENCH_STORE_INODES="+strings.Join(inodes, ","), fmt.Sprint("BENCH_STORE_GETS=", takerGets/n))
		if err := give(cmd); err != nil {
			return 0, 0, err
		}
		cmd.Stdin, cmd.Stderr = gate, os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, 0, err
		}
		if kind == "service" {
			cmd.ExtraFiles[0].Close()
		}
		cmds[i], outs[i] = cmd, bufio.NewReader(out)
	}
	for _, out := range outs {
		if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
			return 0, 0, fmt.Errorf("a taker said %q: %w", line, err)
		}
	}
	begin := time.Now()
	open.Close()
	for i, cmd := range cmds {
		line, _ := outs[i].ReadString('\n') // at the end of its gets
		if fds, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
			return 0, 0, fmt.Errorf("a taker said %q", line)
		}
		if i == n-1 {
			ns = float64(time.Since(begin).Nanoseconds()) / float64(takerGets/n*n)
		}
		if err := cmd.Wait(); err != nil {
			return 0, 0, err
		}
	}
	return ns, fds, nil
}

// take is a taker: it prints that it is ready, waits for the end of its input, gets files,
// compares the inode of each, and prints how many descriptors it has open.
func take(kind string) error {
	inodes := strings.Split(os.Getenv("BENCH_STORE_INODES"), ",")
	gets, err := strconv.Atoi(os.Getenv("BENCH_STORE_GETS"))
	if err != nil {
		return err
	}
	before := openFDs()
	get, err := getter(kind)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for range gets {
		i := rand.N(takerFiles)
		err := get(i, func(fd int) error {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return err
			}
			if got := strconv.FormatUint(st.Ino, 10); got != inodes[i%poolSize] {
				return fmt.Errorf("file %d has inode %s, want %s", i, got, inodes[i%poolSize])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Println(openFDs() - before)
	return nil
}

// getter opens the store or the service, and returns a function that gets a file, passes it
// to a check, and closes it.
func getter(kind string) (func(i int, look func(fd int) error) error, error) {
	if kind == "store" {
		s, err := fdstore.Inherited()
		if err != nil {
			return nil, err
		}
		var one [1]int
		return func(i int, look func(fd int) error) error {
			fds, err := s.GetFDs(fdstore.ID(i), one[:0])
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fds[0]) }()
			return look(fds[0])
		}, nil
	}
	number, err := strconv.ParseUint(os.Getenv("BENCH_STORE_SERVICE"), 10, 64)
	if err != nil {
		return nil, err
	}
	const door = 3
	c, err := service.Open(door, number, 0)
	if err != nil {
		return nil, err
	}
	return func(i int, look func(fd int) error) error {
		f, err := c.Pop(service.ID(i))
		if err != nil {
			return err
		}
		defer f.Close()
		return look(int(f.Fd()))
	}, nil
}
