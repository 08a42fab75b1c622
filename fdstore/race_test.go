//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// raced counts the results of the pulls of one run.
type raced struct {
	pulls int
	wrong int // pulls that returned the file of another message
	none  int // pulls that returned no file: the offset was beyond the queue
	again int // tries that the check has discarded
}

func (r raced) percent(n int) float64 { return 100 * float64(n) / float64(r.pulls) }

// TestRace has processes pull at the same time and asks the kernel which open file each
// got. Setting the offset and peeking are two calls: without a check of the payload some
// files are those of another message. With the check none is.
//
//	go test -count=1 -v -run TestRace ./fdstore
func TestRace(t *testing.T) {
	const (
		messages = 64
		rounds   = 20 // for a machine on which the processes rarely interleave
	)
	pulls := 20_000 // of all processes of a run
	if os.Getenv("REGROW_TEST_VM") == "1" {
		pulls = 2_000 // an emulated processor takes ten times as long, see test/vm
	}
	s := newTestStore(t, Options{Layout: Flat})
	fds := make([]string, messages)
	for i := range fds {
		f := memfd(t, strconv.Itoa(i))
		if _, err := s.Add(f); err != nil {
			t.Fatal(err)
		}
		fds[i] = strconv.Itoa(int(f.Fd()))
	}
	if err := s.Seal(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%-12s %-9s %7s %16s %16s %9s %8s", "processes", "payload", "pulls", "wrong file", "no file", "retries", "us/pull")
	row := func(processes int, payload string) raced {
		r, took := race(t, s, processes, payload, pulls/processes, fds)
		each := float64(took.Microseconds()) / float64(r.pulls)
		t.Logf("%-12d %-9s %7d %7d %7.2f%% %7d %7.2f%% %9d %8.2f", processes, payload,
			r.pulls, r.wrong, r.percent(r.wrong), r.none, r.percent(r.none), r.again, each)
		return r
	}
	for _, processes := range []int{1, 2, 8, 64} {
		if r := row(processes, "checked"); r.wrong+r.none > 0 {
			t.Errorf("%d processes got %d wrong files and %d times none, although each checked the payload", processes, r.wrong, r.none)
		}
		met := false
		for round := 0; round < rounds && !met; round++ {
			r := row(processes, "unchecked")
			met = r.wrong > 0
			if processes == 1 {
				if met || r.none > 0 {
					t.Errorf("a single process got %d wrong files and %d times none", r.wrong, r.none)
				}
				break
			}
		}
		if processes > 1 && !met {
			t.Errorf("%d processes that do not check the payload got no wrong file in %d rounds", processes, rounds)
		}
	}
}

// race starts processes, starts their pulls at the same time and adds up their results.
// The time runs from then until the last process has ended.
func race(t *testing.T, s *Store, processes int, payload string, pulls int, fds []string) (sum raced, took time.Duration) {
	t.Helper()
	gate, start, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var cmds []*exec.Cmd
	for range processes {
		cmd := newHelper(t, s, "race", payload, strconv.FormatUint(s.Number(), 10),
			strconv.Itoa(pulls), strconv.Itoa(os.Getpid()), strings.Join(fds, ","))
		cmd.Stdin, cmd.Stdout = gate, &strings.Builder{}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	gate.Close()
	began := time.Now()
	start.Close()
	for _, cmd := range cmds {
		waitHelper(t, cmd)
		var r raced
		if _, err := fmt.Sscan(fmt.Sprint(cmd.Stdout), &r.pulls, &r.wrong, &r.none, &r.again); err != nil {
			t.Fatalf("a helper said %q: %v", cmd.Stdout, err)
		}
		sum.pulls += r.pulls
		sum.wrong += r.wrong
		sum.none += r.none
		sum.again += r.again
	}
	return sum, time.Since(began)
}

// helpRace waits for the end of standard input, then pulls random messages; args:
// checked or unchecked, number, pulls, the maker's pid, the maker's descriptors of the
// files in order.
func helpRace(args []string) error {
	checked := args[0] == "checked"
	number, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	pulls, _ := strconv.Atoi(args[2])
	maker, _ := strconv.Atoi(args[3])
	theirs := strings.Split(args[4], ",")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	r := raced{pulls: pulls}
	for range pulls {
		id := rand.N(len(theirs))
		fd, err := r.pull(checked, number, Flat.Place(ID(id), 1).Word)
		if err != nil {
			return err
		}
		if fd < 0 {
			continue
		}
		want, _ := strconv.Atoi(theirs[id])
		same, err := kcmpFile(os.Getpid(), fd, maker, want)
		unix.Close(fd)
		if err != nil {
			return needError{err.Error()}
		}
		if !same {
			r.wrong++
		}
	}
	fmt.Println(r.pulls, r.wrong, r.none, r.again)
	return nil
}

// pull pulls one file and returns -1 if none came. Without checked it accepts the first
// message; with checked it tries again until it gets the right one.
func (r *raced) pull(checked bool, number uint64, w wire.Word) (int, error) {
	const sock = 3
	for range wire.MaxTries {
		var fds []int
		var err error
		ok := true
		if checked {
			fds, _, ok, err = rawPull(sock, number, w)
		} else {
			var p peeked
			p, err = rawPeek(sock, w)
			fds = p.fds
		}
		nothing := errors.Is(err, unix.EAGAIN)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil && !nothing:
			return -1, err
		case !checked && (nothing || len(fds) == 0):
			r.none++
			return -1, nil
		case ok && !nothing:
			return fds[0], nil
		default:
			r.again++
		}
	}
	return -1, ErrContended
}
