package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
)

// tellArg makes the test binary a program that becomes a scenario's caller, and prints
// its limit and descriptors.
const tellArg = "tell-what-the-caller-has"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == tellArg {
		limit, err := strconv.ParseInt(strings.TrimPrefix(os.Args[2], "--"+asCallerFlag+"="), 10, 64)
		if err == nil {
			err = becomeCaller(limit)
		}
		if err == nil {
			err = tell()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// tell prints the limit and all inherited descriptors.
func tell() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	fmt.Println(limit.Cur, limit.Max)
	paths, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return err
	}
	var numbers []int
	for _, path := range paths {
		n, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return err
		}
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	fmt.Println(numbers)
	return nil
}

// TestRunAsCaller checks the limit and the descriptors of a scenario's caller, as that
// process itself sees them.
func TestRunAsCaller(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n} }
	fd := func(key string, n int64) tasktree.CallerFD {
		return tasktree.CallerFD{Key: tasktree.Text{Value: key}, FD: number(n)}
	}
	for _, c := range []struct {
		name   string
		caller *tasktree.Caller
		limit  uint64 // soft; 0: that of this process, which Go has raised, too
		fds    []int
	}{
		{"nothing", nil, 0, []int{0, 1, 2}},
		{"a limit", &tasktree.Caller{NoFile: number(50)}, 50, []int{0, 1, 2}},
		{"open ones", &tasktree.Caller{Open: number(8)}, 0, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{
			"all of it, above the limit, too", &tasktree.Caller{NoFile: number(40), Open: number(6), InheritFD: []tasktree.CallerFD{fd("a", 61), fd("b", 4), fd("c", 0)}},
			40,
			[]int{0, 1, 2, 3, 4, 5, 61},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s *tasktree.Scenario
			if c.caller != nil {
				s = &tasktree.Scenario{Caller: *c.caller}
			}
			out, err := os.CreateTemp(t.TempDir(), "out")
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			status, err := runAsCaller(ctx, s, [3]*os.File{os.Stdin, out, os.Stderr}, tellArg)
			if err != nil || status != 7 {
				t.Fatalf("status %d, %v", status, err)
			}
			got, err := io.ReadAll(io.NewSectionReader(out, 0, 1<<20))
			soft, hard := c.limit, c.limit
			if c.limit == 0 {
				soft, hard = own.Cur, own.Max
			}
			if want := fmt.Sprintf("%d %d\n%v\n", soft, hard, c.fds); err != nil || string(got) != want {
				t.Errorf("the caller prints %q, want %q (%v)", got, want, err)
			}
		})
	}
}

// TestCallerFiles checks that every descriptor is an open file of its own, so that kcmp
// can distinguish them.
func TestCallerFiles(t *testing.T) {
	s := &tasktree.Scenario{Caller: tasktree.Caller{
		Open:      tasktree.Number{Value: 6},
		InheritFD: []tasktree.CallerFD{{FD: tasktree.Number{Value: 4}}, {FD: tasktree.Number{Value: 1}}, {FD: tasktree.Number{Value: 9}}},
	}}
	files, opened, err := callerFiles(s, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer closeFiles(opened)
	seen := map[*os.File]bool{}
	for n, f := range files {
		if there := n < 6 || n == 9; there != (f != nil) {
			t.Errorf("descriptor %d: %v", n, f)
		}
		if f != nil && seen[f] {
			t.Errorf("descriptor %d is the open file of another one", n)
		}
		seen[f] = true
	}
	if files[1] == os.Stdout || files[2] != os.Stderr || len(opened) != 5 {
		t.Errorf("%d files opened, standard output replaced: %v", len(opened), files[1] != os.Stdout)
	}
}
