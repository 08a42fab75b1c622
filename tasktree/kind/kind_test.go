package kind_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

func TestRegistry(t *testing.T) {
	names := kind.Names()
	if !slices.IsSorted(names) {
		t.Errorf("names are not sorted: %v", names)
	}
	for _, name := range []string{"inherit", "pipe", "reg"} {
		if !slices.Contains(names, name) {
			t.Errorf("no kind %q among %v", name, names)
		}
	}
	for _, name := range []string{"", "Reg", "socket "} {
		if k, ok := kind.Lookup(name); ok {
			t.Errorf("%q is the kind %q", name, k.Name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			k, ok := kind.Lookup(name)
			if !ok || k.Name != name {
				t.Fatalf("Lookup gives %q, %v", k.Name, ok)
			}
			e := &entry{t: t}
			spec := k.New()
			spec.Fields(e)
			if got := spec.Kind(); got != name {
				t.Errorf("what it decodes calls itself %q", got)
			}
			for _, row := range schema.Rows(k.New()) {
				if row.Doc == "" {
					t.Errorf("the reference says nothing of the key %q", row.Key)
				}
			}
			if said := schema.Said(k.New()); len(said) > 0 {
				t.Errorf("a new one says %v", said)
			}
			for key, table := range e.tables {
				checkTable(t, key, table)
			}
		})
	}
}

// checkTable holds what every table of flags has in common.
func checkTable(t *testing.T, key string, table []kind.Flag) {
	seen, ofOpen := map[string]bool{}, false
	for _, f := range table {
		if seen[f.Name] {
			t.Errorf("%s: %s is listed twice", key, f.Name)
		}
		seen[f.Name] = true
		ofOpen = ofOpen || strings.HasPrefix(f.Name, "O_")
		if f.Bits == 0 && f.Refuse == "" && f.Name != "O_RDONLY" && f.Name != "O_LARGEFILE" {
			t.Errorf("%s: %s has no effect", key, f.Name)
		}
		if f.Name == "O_CLOEXEC" && !strings.Contains(f.Refuse, "{file: NAME, cloexec: true}") {
			t.Errorf("%s: O_CLOEXEC is refused with %q, which is no cure", key, f.Refuse)
		}
	}
	if ofOpen && !seen["O_CLOEXEC"] {
		t.Errorf("%s: nothing tells where O_CLOEXEC belongs", key)
	}
}

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		kind string
		want map[string][2]int64
	}{
		{"reg", map[string][2]int64{"offset": {0, math.MaxInt64}, "size": {0, math.MaxInt64}}},
		{"pipe", map[string][2]int64{"capacity": {1, 1 << 31}, "read": {0, 4095}}},
		{"inherit", nil},
	} {
		t.Run(c.kind, func(t *testing.T) {
			k, _ := kind.Lookup(c.kind)
			e := &entry{t: t}
			k.New().Fields(e)
			if diff := cmp.Diff(c.want, e.ranges); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFlagNames holds the flags that each kind can be given.
func TestFlagNames(t *testing.T) {
	for _, c := range []struct {
		kind string
		said any
		want int
	}{
		{"reg", []string{"O_RDONLY"}, unix.O_RDONLY},
		{"reg", []string{"O_WRONLY", "O_APPEND", "O_CREAT", "O_EXCL", "O_TRUNC"}, unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_EXCL | unix.O_TRUNC},
		{"reg", []string{"O_RDWR", "O_TMPFILE", "O_DSYNC", "O_SYNC"}, unix.O_RDWR | unix.O_TMPFILE | unix.O_SYNC},
		{"reg", []string{"O_NONBLOCK", "O_NDELAY", "O_ASYNC", "O_DIRECT"}, unix.O_NONBLOCK | unix.O_ASYNC | unix.O_DIRECT},
		{"reg", []string{"O_NOATIME", "O_NOCTTY", "O_NOFOLLOW", "O_LARGEFILE"}, unix.O_NOATIME | unix.O_NOCTTY | unix.O_NOFOLLOW | unix.O_LARGEFILE},
		{"reg", []string{"O_PATH", "O_DIRECTORY"}, unix.O_PATH | unix.O_DIRECTORY},
		{"pipe", [][]string{{"O_NONBLOCK", "O_ASYNC"}, {"O_DIRECT", "O_NOATIME"}}, 0},
	} {
		switch spec := decode(t, c.kind, values{"flags": c.said}).(type) {
		case *kind.Reg:
			if spec.Flags.Bits != c.want {
				t.Errorf("%v are %#x, want %#x", c.said, spec.Flags.Bits, c.want)
			}
		case *kind.Pipe:
			if r, w := spec.ReadEnd.Bits, spec.WriteEnd.Bits; r != unix.O_NONBLOCK|unix.O_ASYNC || w != unix.O_DIRECT|unix.O_NOATIME {
				t.Errorf("%v are %#x and %#x", c.said, r, w)
			}
		}
	}
}

// checkCase is one entry and what its kind says of it.
type checkCase struct {
	name string
	said values
	want []string
}

func testCheck(t *testing.T, name string, cases []checkCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			decode(t, name, c.said).Check(&tasktree.Tree{}, func(p tasktree.Problem) { got = append(got, p.String()) })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// makeCase is one entry and its recipe; what it returns are the Refs.
type makeCase struct {
	name    string
	said    values
	want    []any
	returns []recipe.Ref
}

// testMake compares recipes in a tree that lies in /dir. Words of messages are
// not compared here.
func testMake(t *testing.T, name string, cases []makeCase, opts ...cmp.Option) {
	opts = append(opts, cmpopts.IgnoreFields(recipe.Call{}, "Short", "Hints"), cmpopts.EquateEmpty())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := &recorder{}
			refs := m.phases(decode(t, name, c.said), &tasktree.Tree{Dir: "/dir"})
			if diff := cmp.Diff(c.want, m.steps, opts...); diff != "" {
				t.Errorf("recipe (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.returns, refs); diff != "" {
				t.Errorf("refs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHints holds that a result that is demanded says what it means to miss it,
// and which limits the calls name that meet one.
func TestHints(t *testing.T) {
	for _, c := range []struct {
		kind string
		said values
		call string
		want map[unix.Errno][]string
	}{
		{"reg", values{"path": "x", "offset": 5}, "lseek", map[unix.Errno][]string{unix.ESPIPE: {"no offset"}}},
		{"pipe", values{"capacity": 5000}, "fcntl(F_SETPIPE_SZ)", map[unix.Errno][]string{unix.EPERM: {"8192", "pipe-max-size", "pipe-user-pages-soft"}}},
		{"pipe", values{"content": "x"}, "write", map[unix.Errno][]string{unix.EAGAIN: {"pipe-user-pages-soft"}}},
	} {
		t.Run(c.call, func(t *testing.T) {
			m := &recorder{}
			m.phases(decode(t, c.kind, c.said), &tasktree.Tree{})
			i := slices.IndexFunc(m.steps, func(step any) bool { call, ok := step.(recipe.Call); return ok && call.Name == c.call })
			if i < 0 {
				t.Fatalf("no call %s in %v", c.call, m.steps)
			}
			call := m.steps[i].(recipe.Call)
			if call.HasWant && call.Short == "" {
				t.Error("demands a result and does not say what another one means")
			}
			for errno, words := range c.want {
				j := slices.IndexFunc(call.Hints, func(h recipe.Hint) bool { return h.Errno == int(errno) })
				if j < 0 {
					t.Fatalf("nothing is said of %v", errno)
				}
				for _, word := range words {
					if !strings.Contains(call.Hints[j].Text, word) {
						t.Errorf("%v: %q does not name %s", errno, call.Hints[j].Text, word)
					}
				}
			}
		})
	}
}
