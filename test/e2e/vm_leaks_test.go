package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/images"
	"regrow/restore"
	"regrow/test/rounds"
)

// slabs returns the objects in use of each of the kernel's caches, see slabinfo(5), after
// everything that can be freed was freed. The machine was started with slab_nomerge, so
// that each cache counts one kind of object.
func slabs(t *testing.T) map[string]int {
	t.Helper()
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil || !strings.Contains(string(cmdline), "slab_nomerge") {
		t.Fatalf("the kernel merges its caches: %q, %v", cmdline, err)
	}
	unix.Sync()
	for range 3 { // each time frees objects that the previous one has released
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0o200); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // for RCU and work queues
	}
	// The partial slabs of each processor count as in use, hundreds of dentries, until
	// the cache is shrunk, see cpu_partial in mm/slub.c.
	shrinks, err := filepath.Glob("/sys/kernel/slab/*/shrink")
	if err != nil || len(shrinks) == 0 {
		t.Fatalf("no cache can be shrunk: %v", err)
	}
	for _, shrink := range shrinks {
		if err := os.WriteFile(shrink, []byte("1"), 0o200); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] != "#" && fields[0] != "slabinfo" {
			if counts[fields[0]], err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return counts
}

// TestNothingLeaksInTheKernel restores and ends a tree many times, with and without
// success. No cache of the kernel may grow by one object for every fourth restore, in each
// of several measurements. Most trees are restored by the library, because a start of
// regrow costs ten times as much.
func TestNothingLeaksInTheKernel(t *testing.T) {
	needVM(t)
	restores := rounds.Number(t, "REGROW_TEST_RESTORES", 1000)
	good := write(t, `version: 1
namespaces: [pid]
files: {p: {type: pipe, content: x}, f: {type: reg, path: /dev/null}, g: {type: reg, path: /etc/passwd}}
tasks: [{name: a, run: ["true"], fds: {0: p.r, 1: f}, children: [{name: b, fds: {0: p.w, 7: g}}, {name: c, fds: {1: p.r, 2: g}}]}]
`)
	bad := write(t, `version: 1
files: {p: {type: pipe, content: x}, f: {type: reg, path: /dev/null}, no: {type: reg, path: /not/there}}
tasks: [{name: a, fds: {0: p.r, 1: f}, children: [{name: b, fds: {0: p.w, 7: f}}, {name: c, fds: {1: p.r, 2: no}}]}]
`)
	host, err := restore.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	plan := func(path string) *restore.Plan {
		tree, err := images.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := restore.NewPlan(tree, host, restore.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	goodPlan, badPlan := plan(good), plan(bad)
	round := func(n int) {
		for i := range n {
			switch {
			case i%40 == 0:
				if res := run(t, "restore", good); res.status != 0 {
					t.Fatalf("status %d: %s", res.status, res.errors)
				}
			case i%10 == 9:
				if _, err := restore.Start(t.Context(), badPlan, restore.Options{}); !errors.Is(err, unix.ENOENT) {
					t.Fatalf("got %v, want ENOENT", err)
				}
			default:
				tree, err := restore.Start(t.Context(), goodPlan, restore.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if status, err := tree.Wait(); err != nil || status != (restore.Status{}) {
					t.Fatalf("status %+v, %v", status, err)
				}
			}
		}
	}
	round(80) // for what the kernel allocates only once
	before := slabs(t)
	if before["filp"] == 0 || before["task_struct"] == 0 || before["signal_cache"] == 0 {
		t.Fatalf("the counts have no filp, task_struct or signal_cache: %v", before)
	}
	// The areas of freed stacks wait until there are 64 MiB of them, for two
	// processors, see lazy_max_pages in mm/vmalloc.c. A stack has five pages.
	waiting := map[string]int{"vmap_area": 64 << 20 / (5 * os.Getpagesize())}
	// The current slab of a processor counts as full, with 512 objects of 8 bytes. So a
	// cache may seem to grow once, but a cache with a leak grows each time.
	const rounds = 3
	grew := map[string]string{}
	for i := range rounds {
		began := time.Now()
		round(restores)
		t.Logf("%d restores in %v", restores, time.Since(began).Round(time.Second))
		after := slabs(t)
		again := map[string]string{}
		for name, n := range after {
			grown, known := n-before[name]-waiting[name], grew[name]
			if grown > restores/4 && (i == 0 || known != "") {
				again[name] = fmt.Sprintf("%s %d objects before, %d after;", known, before[name], n)
			}
			if grown > restores/50 {
				t.Logf("%s: %d objects before, %d after", name, before[name], n)
			}
		}
		if before, grew = after, again; len(grew) == 0 {
			return
		}
	}
	t.Errorf("caches grow: %v", grew)
}

// TestStoreOfUnixSockets adds more connected Unix sockets to a store than the kernel
// handles fast, and gets each. Beyond 16,000 in flight the kernel's garbage collector
// examines all of them at each send (UNIX_INFLIGHT_TRIGGER_GC in net/unix).
func TestStoreOfUnixSockets(t *testing.T) {
	needVM(t)
	raiseFiles(t)
	n := rounds.Number(t, "REGROW_TEST_SOCKETS", 20_000)
	s, err := fdstore.New(fdstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pairs [][2]int
	defer func() {
		began := time.Now()
		s.Close()
		for _, p := range pairs {
			unix.Close(p[0])
			unix.Close(p[1])
		}
		within(t, "the end of all sockets", func() bool {
			text, err := os.ReadFile("/proc/net/unix")
			return err == nil && strings.Count(string(text), "\n") < 100
		})
		t.Logf("gone after %v", time.Since(began).Round(time.Millisecond))
	}()
	for range n / 2 {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	const collects = 16_000
	var ids []fdstore.ID
	var adds [2]time.Duration // without and with a collection at each add
	for i := range n {
		began := time.Now()
		id, err := s.AddFDs([]int{pairs[i/2][i%2]})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		if i < collects {
			adds[0] += time.Since(began) / time.Duration(min(n, collects))
		} else {
			adds[1] += time.Since(began) / time.Duration(n-collects)
		}
	}
	began := time.Now()
	for i, id := range ids {
		f, err := s.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if i%97 == 0 {
			if same, err := sameFile(os.Getpid(), int(f.Fd()), os.Getpid(), pairs[i/2][i%2]); err != nil || !same {
				t.Errorf("socket %d is another one (%v)", i, err)
			}
		}
		f.Close()
	}
	get := time.Since(began) / time.Duration(n)
	t.Attr("measure", fmt.Sprintf("%d sockets: an add takes %v up to %d, then %v; a get %v", n, adds[0], collects, adds[1], get))
	// The pairs are still connected.
	for i := 0; i < len(pairs); i += 501 {
		f, err := s.Get(ids[2*i])
		if err != nil {
			t.Fatal(err)
		}
		_, werr := f.WriteString("hello")
		f.Close()
		b := make([]byte, 8)
		m, rerr := unix.Read(pairs[i][1], b)
		if err := errors.Join(werr, rerr); err != nil || string(b[:max(m, 0)]) != "hello" {
			t.Errorf("pair %d: read %q, %v", i, b[:max(m, 0)], err)
		}
	}
}
