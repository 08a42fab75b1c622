//go:build linux

package fdstore

import (
	"bufio"
	"errors"
	"fmt"
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

// TestAdoptAtAnyMoment adopts stores whose writer was killed at each step of an add. The
// message is in the root, in a shard or in a branch, or is the first one of these.
func TestAdoptAtAnyMoment(t *testing.T) {
	steps := []struct {
		name string
		stop func(s *Store, w *writer, r record, link int64) error
		more int // messages that the killed writer has added
	}{
		{"before", func(*Store, *writer, record, int64) error { return nil }, 0},
		{"sockets made", func(s *Store, w *writer, r record, _ int64) error {
			return second(s.openWay(w, s.layout.Place(r.id, 1)))
		}, 0},
		{"record written", func(s *Store, w *writer, r record, _ int64) error { return s.catalog.write(r) }, 0},
		{"sent", sendOnly, 1},
		{"linked", func(s *Store, w *writer, r record, link int64) error {
			at := s.catalog.end / recordUnit
			return errors.Join(sendOnly(s, w, r, link), s.catalog.writeAt([]byte{byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24)}, link))
		}, 1},
	}
	for _, n := range []int{0, 31, 32, 40, 96, 2080, 2100} {
		for _, layout := range []Layout{Nested, Flat} {
			if layout == Flat && n > 40 {
				continue
			}
			for _, step := range steps {
				s := newTestStore(t, Options{Layout: layout})
				addMany(t, s, n)
				w := s.writer.Load()
				r := record{id: ID(n), files: 1, name: "last"}
				_, _, link, err := s.catalog.find(r.name)
				if err != nil {
					t.Fatal(err)
				}
				if err := step.stop(s, w, r, link); err != nil {
					t.Fatal(err)
				}
				o := opened(t, s)
				if err := o.Adopt(); !errors.Is(err, ErrHasWriter) {
					t.Fatalf("adopt while the writer runs: %v", err)
				}
				closeStore(t, s)
				if err := checkAdopted(o, n, step.more); err != nil {
					t.Errorf("layout %d, %d messages, %s: %v", layout, n, step.name, err)
				}
			}
		}
	}
}

// sendOnly is an add that stops when the message is sent.
func sendOnly(s *Store, w *writer, r record, _ int64) error {
	p := s.layout.Place(r.id, 1)
	to, err := s.openWay(w, p)
	if err == nil {
		err = s.catalog.write(r)
	}
	if err == nil {
		err = s.sendTo(to, p.Word, []int{0})
	}
	return err
}

// checkAdopted adopts a store with n+more messages and continues to add.
func checkAdopted(o *Store, n, more int) error {
	if err := o.Adopt(); err != nil {
		return err
	}
	if o.Len() != n+more {
		return fmt.Errorf("%d messages", o.Len())
	}
	id, err := o.Lookup("last")
	if more == 1 && (err != nil || id != ID(n)) || more == 0 && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the last message: %d, %w", id, err)
	}
	for i := range 70 { // into the next shard
		if _, err := o.AddNamed(fmt.Sprint("after ", i), os.Stdin); err != nil {
			return err
		}
	}
	if err := o.Verify(); err != nil {
		return err
	}
	if _, err := o.Lookup("after 69"); err != nil {
		return err
	}
	return o.Seal()
}

func TestAdoptRefuses(t *testing.T) {
	s := newTestStore(t, Options{})
	addMany(t, s, 3)
	o := opened(t, s)
	if err := errors.Join(s.Adopt(), o.Resign()); err != nil {
		t.Errorf("nothing to do: %v", err)
	}
	if _, err := o.Add(devNull(t)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("add by a taker: %v", err)
	}
	if err := errors.Join(s.Resign(), o.Adopt()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(devNull(t)); !errors.Is(err, ErrReadOnly) || s.Len() != 3 {
		t.Errorf("add after Resign: %v; %d messages", err, s.Len())
	}
	if err := s.Adopt(); !errors.Is(err, ErrHasWriter) {
		t.Errorf("adopt it back: %v", err)
	}
	if f, err := s.Get(2); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	// Another process sends a message while there is no writer.
	if err := errors.Join(o.Resign(), unix.Sendto(o.FD(), make([]byte, wire.PayloadSize), unix.MSG_DONTWAIT, nil)); err != nil {
		t.Fatal(err)
	}
	before := len(descriptors())
	for range 2 {
		if err := o.Adopt(); !errors.Is(err, ErrForeign) {
			t.Errorf("a stray message: %v, want ErrForeign", err)
		}
	}
	if after := len(descriptors()); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	bare, sealed := newTestStore(t, Options{WithoutCatalog: true}), newTestStore(t, Options{})
	if err := sealed.Seal(); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want error }{
		"no catalog": {opened(t, bare).Adopt(), ErrNoCatalog}, "resign without a catalog": {bare.Resign(), ErrNoCatalog},
		"sealed": {opened(t, sealed).Adopt(), ErrSealed},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", what, c.got, c.want)
		}
	}
	// A maker without /proc.
	if err := sealed.Resign(); err != nil {
		t.Fatal(err)
	}
	lonely := newTestStore(t, Options{})
	if err := errors.Join(lonely.catalog.writeAt([]byte{1}, catalogOnly), lonely.Resign()); err != nil {
		t.Fatal(err)
	}
	if err := opened(t, lonely).Adopt(); !errors.Is(err, ErrHasWriter) {
		t.Errorf("a maker that could not lock: %v", err)
	}
}

// TestAdoptInterruptedSeal completes a seal whose process was killed in the middle.
func TestAdoptInterruptedSeal(t *testing.T) {
	s := newTestStore(t, Options{})
	addMany(t, s, 50)
	if err := errors.Join(s.catalog.seal(), s.finish(s.writer.Load(), 0)); err != nil {
		t.Fatal(err)
	}
	o := opened(t, s)
	closeStore(t, s)
	if err := o.Adopt(); err != nil || o.Sealed() {
		t.Fatalf("sealed %v, %v", o.Sealed(), err)
	}
	if _, err := o.Add(devNull(t)); !errors.Is(err, ErrSealed) {
		t.Errorf("add: %v, want ErrSealed", err)
	}
	if err := o.Seal(); err != nil || !o.Sealed() {
		t.Errorf("sealed %v, %v", o.Sealed(), err)
	}
}

// TestAdoptAfterKill kills one writer after another in the middle of an add, each after
// a random number of messages.
func TestAdoptAfterKill(t *testing.T) {
	const generations = 12
	s := newTestStore(t, Options{})
	if err := s.Resign(); err != nil {
		t.Fatal(err)
	}
	for gen := range generations {
		cmd := newHelper(t, nil, "adopt", "", strconv.Itoa(gen))
		if err := s.AddToCmd(cmd); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for range 1 + rand.N(60) { // the helper prints a line for each message
			if line, err := lines.ReadString('\n'); err != nil {
				t.Errorf("generation %d ended with %q", gen, line)
				break
			}
		}
		_ = errors.Join(cmd.Process.Kill(), cmd.Wait())
	}
	if err := errors.Join(s.Adopt(), s.Verify()); err != nil {
		t.Fatal(err)
	}
	checkGenerations(t, s, generations)
}

// TestUpgrades starts generations of a program: each adopts the store, adds a message,
// resigns and starts the next one.
func TestUpgrades(t *testing.T) {
	const generations = 15
	s := newTestStore(t, Options{})
	if err := s.Resign(); err != nil {
		t.Fatal(err)
	}
	cmd := newHelper(t, nil, "adopt", strconv.Itoa(generations-1), "0")
	if err := s.AddToCmd(cmd); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(s.Adopt(), s.Verify()); err != nil {
		t.Fatal(err)
	}
	checkGenerations(t, s, generations)
	if s.Len() != generations {
		t.Errorf("%d messages of %d generations", s.Len(), generations)
	}
}

// checkGenerations checks that the file of each message contains the message's name, and
// that every generation has added one.
func checkGenerations(t *testing.T, s *Store, generations int) {
	t.Helper()
	seen := map[string]bool{}
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.GetNamed(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := content(f); err != nil || text != e.Name {
			t.Errorf("message %d, %q, contains %q, %v", e.ID, e.Name, text, err)
		}
		f.Close()
		gen, _, _ := strings.Cut(e.Name, " ")
		seen[gen] = true
	}
	if len(seen) != generations {
		t.Errorf("%d generations added messages, want %d", len(seen), generations)
	}
}

// TestAdoptHolds checks that, if the kernel collects garbage in close, Adopt opens the
// same full sockets as the maker has open.
func TestAdoptHolds(t *testing.T) {
	was := collector.Swap(collectorInClose)
	defer collector.Store(was)
	for _, n := range []int{40, 96, 97, 2080, 2081, 2200, 6200} {
		s := newTestStore(t, Options{})
		addMany(t, s, n)
		want := len(s.writer.Load().held)
		if (n-int(Nested))%wire.ShardSize == 0 {
			want++ // the maker still has its last full shard in open
		}
		o := opened(t, s)
		before := len(descriptors())
		if err := s.Resign(); err != nil {
			t.Fatal(err)
		}
		if err := o.Adopt(); err != nil {
			t.Fatal(err)
		}
		w := o.writer.Load()
		if got := len(w.held); got != want || len(descriptors()) > before {
			t.Errorf("%d messages: %d sockets are held, want %d; %d descriptors, %d before", n, got, want, len(descriptors()), before)
		}
		addMany(t, o, 70)
		if err := o.Verify(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneWriter has several goroutines, each with a Store of its own, adopt the store
// again and again: no message is lost or overwritten.
func TestOneWriter(t *testing.T) {
	const holders, each = 6, 30
	s := newTestStore(t, Options{})
	if err := s.Resign(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, holders)
	for h := range holders {
		o := opened(t, s)
		go func() {
			for i := range each {
				err := adoptWhenFree(o)
				if err == nil {
					_, err = o.AddNamed(fmt.Sprintf("%d %d", h, i), os.Stdin)
				}
				if err = errors.Join(err, o.Resign()); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range holders {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := s.Verify(); err != nil || s.Len() != holders*each {
		t.Errorf("%d messages, %v", s.Len(), err)
	}
}

func adoptWhenFree(s *Store) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := s.Adopt()
		if !errors.Is(err, ErrHasWriter) || time.Now().After(deadline) {
			return err
		}
	}
}

// helpAdopt is a generation of a program with the store; args: the number of the last
// generation, its own number. If the former is empty, it adds until it is killed; else
// it adds one message, resigns and starts the next generation.
func helpAdopt(args []string) error {
	s, err := Inherited()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := adoptWhenFree(s); err != nil {
		return err
	}
	for i := 0; i == 0 || args[0] == ""; i++ {
		name := args[1] + " " + strconv.Itoa(i)
		f, err := newMemfd(name)
		if err != nil {
			return err
		}
		if _, err := s.AddNamed(name, f); err != nil {
			return err
		}
		f.Close()
		fmt.Println(name)
	}
	if args[0] == args[1] {
		return nil
	}
	if err := s.Resign(); err != nil {
		return err
	}
	gen, _ := strconv.Atoi(args[1])
	next := exec.Command("/proc/self/exe", args[0], strconv.Itoa(gen+1))
	next.Stdout, next.Stderr = os.Stdout, os.Stderr
	if err := s.AddToCmd(next); err != nil {
		return err
	}
	return next.Run()
}
