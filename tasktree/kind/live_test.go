package kind_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// fakeLive is an entry of a live tree.
type fakeLive struct {
	ends  []kind.LiveEnd
	wants []string // nil: all
}

func (l fakeLive) Ends() []kind.LiveEnd { return l.ends }
func (l fakeLive) Wants(key string) bool {
	return l.wants == nil || slices.Contains(l.wants, key)
}

// fakeEnd is an open file, and its own copy.
type fakeEnd struct {
	link   string
	mode   uint32
	flags  int
	offset int64
	info   map[string]string
	stat   unix.Statx_t
	memory bool
	huge   int64
	seals  int
	parts  []kind.LiveExtent

	unix  *kind.LiveUnix
	queue []kind.LiveItem

	options map[int][]byte
	filter  []byte
	file    struct {
		mode  uint32
		names int
	}

	size, waiting int
	front, events int
	content       string
	part          bool
	copyErr, err  error
	copies        *int
}

func (e fakeEnd) Link() string  { return e.link }
func (e fakeEnd) Mode() uint32  { return e.mode }
func (e fakeEnd) Flags() int    { return e.flags }
func (e fakeEnd) Offset() int64 { return e.offset }

func (e fakeEnd) Stat() *unix.Statx_t { return &e.stat }

func (e fakeEnd) Memory() (int64, bool) { return e.huge, e.memory }

func (e fakeEnd) Extents(int64) ([]kind.LiveExtent, error) { return e.parts, e.err }

func (e fakeEnd) Unix() *kind.LiveUnix { return e.unix }

func (e fakeEnd) Queue() ([]kind.LiveItem, error) { return e.queue, e.err }

func (e fakeEnd) PeerName() (string, error) { return "", e.err }

func (e fakeEnd) Option(_, nr, _ int) ([]byte, error) { return e.options[nr], e.err }

func (e fakeEnd) Filter() ([]byte, error) { return e.filter, e.err }

func (e fakeEnd) BoundFile() (uint32, int, error) { return e.file.mode, e.file.names, e.err }

func (e fakeEnd) Info(field string) string { return e.info[field] }

func (e fakeEnd) Copy(use func(kind.LiveCopy) error) error {
	if e.copies != nil {
		*e.copies++
	}
	if e.copyErr != nil {
		return e.copyErr
	}
	return use(e)
}

func (e fakeEnd) Fcntl(command int) (int, error) {
	if command == unix.F_GET_SEALS {
		return e.seals, e.err
	}
	return e.size, e.err
}
func (e fakeEnd) Waiting() (int, error) { return e.waiting, e.err }

func (e fakeEnd) Tee() ([][]byte, bool, error) {
	var pieces [][]byte
	for piece := range strings.SplitSeq(e.content, "|") {
		pieces = append(pieces, []byte(piece))
	}
	return pieces, !e.part, nil
}

func (e fakeEnd) Poll() (int, error)  { return e.events, e.err }
func (e fakeEnd) Front() (int, error) { return e.front, e.err }

// TestOf holds which open files a kind takes for its own, and that no two do.
func TestOf(t *testing.T) {
	for _, c := range []struct {
		end  fakeEnd
		want string
	}{
		{fakeEnd{link: "/etc/passwd", mode: unix.S_IFREG}, "reg"},
		{fakeEnd{link: "/tmp/x (deleted)", mode: unix.S_IFREG}, "reg"},
		{fakeEnd{link: "/etc", mode: unix.S_IFDIR}, "reg"},
		{fakeEnd{link: "/dev/null", mode: unix.S_IFCHR}, "reg"},
		{fakeEnd{link: "/dev/sda", mode: unix.S_IFBLK}, "reg"},
		{fakeEnd{link: "/lib", mode: unix.S_IFLNK}, "reg"},
		{fakeEnd{link: "pipe:[12]", mode: unix.S_IFIFO}, "pipe"},
		{fakeEnd{link: "/tmp/fifo", mode: unix.S_IFIFO}, "fifo"},
		{fakeEnd{link: "/tmp/fifo", mode: unix.S_IFIFO, flags: unix.O_PATH}, ""},
		{fakeEnd{link: "/run/socket", mode: unix.S_IFSOCK}, ""},
		{fakeEnd{link: "/memfd:x (deleted)", mode: unix.S_IFREG, memory: true}, "memfd"},
		{fakeEnd{link: "/memfd:x (deleted)", mode: unix.S_IFREG}, "reg"}, // of the root folder
		{fakeEnd{link: "socket:[12]", mode: unix.S_IFSOCK}, ""},
		{fakeEnd{link: "anon_inode:[eventpoll]"}, ""},
		{fakeEnd{link: "anon_inode:[eventfd]"}, "eventfd"},
		{fakeEnd{link: "anon_inode:[signalfd]"}, "signalfd"},
		{fakeEnd{link: "net:[4026531840]", mode: unix.S_IFREG}, ""},
		{fakeEnd{}, ""},
	} {
		k, ok := kind.Of(c.end)
		if k.Name != c.want || ok != (c.want != "") {
			t.Errorf("%+v is %q", c.end, k.Name)
		}
		yes := 0
		for _, name := range kind.Names() {
			if k, _ := kind.Lookup(name); k.Is != nil && k.Is(c.end) {
				yes++
			}
		}
		if yes > 1 {
			t.Errorf("%+v is of %d kinds", c.end, yes)
		}
	}
}

// TestMadeIsRead holds for every flag that a file may have that it is read as it was
// made, and that its lack is seen.
func TestMadeIsRead(t *testing.T) {
	tree := &tasktree.Tree{}
	forgotten := []string{"O_CREAT", "O_EXCL", "O_NOCTTY", "O_TRUNC"}
	const large = 0o100000 // the kernel's own
	regFlags := tablesOf(&kind.Reg{})["flags"]
	if len(regFlags) == 0 {
		t.Fatal("no flags")
	}
	for _, f := range regFlags {
		if f.Bits == 0 || f.Refuse != "" {
			continue
		}
		said := &kind.Reg{Path: tasktree.Text{Value: "/x"}, Flags: kind.Flags{Bits: f.Bits}}
		link := "/x"
		if f.Bits&unix.O_TMPFILE == unix.O_TMPFILE {
			link = "/x/#12 (deleted)"
		}
		kept := f.Bits
		if slices.Contains(forgotten, f.Name) {
			kept = 0
		}
		for _, c := range []struct {
			flags int
			equal bool
		}{{kept | large, true}, {large, kept == 0}, {kept | large | unix.O_APPEND, f.Name == "O_APPEND"}} {
			var got kind.Reg
			got.Read(fakeLive{ends: []kind.LiveEnd{fakeEnd{link: link, mode: unix.S_IFREG, flags: c.flags, stat: unix.Statx_t{Mode: unix.S_IFREG | 0o644}}}})
			got.Path.Value = "/x"
			if diff := schema.Compare(said.Made(tree), &got); (len(diff) == 0) != c.equal {
				t.Errorf("%s, flags %#o: %+v", f.Name, c.flags, diff)
			}
		}
	}
	for i, end := range []string{"flags.r", "flags.w"} {
		for _, f := range tablesOf(&kind.Pipe{})[end] {
			if f.Refuse != "" {
				continue
			}
			said := &kind.Pipe{}
			*[]*kind.Flags{&said.ReadEnd, &said.WriteEnd}[i] = kind.Flags{Bits: f.Bits}
			access := []int{unix.O_RDONLY, unix.O_WRONLY}[i]
			for _, c := range []struct {
				flags int
				equal bool
			}{{f.Bits, true}, {0, false}} {
				var got kind.Pipe
				got.Read(fakeLive{ends: []kind.LiveEnd{fakeEnd{link: "pipe:[1]", mode: unix.S_IFIFO, flags: access | c.flags, stat: unix.Statx_t{Mode: unix.S_IFIFO | 0o600}}}})
				if diff := schema.Compare(said.Made(tree), &got); (len(diff) == 0) != c.equal {
					t.Errorf("%s %s, flags %#o: %+v", end, f.Name, c.flags, diff)
				}
			}
		}
	}
}

// tablesOf gives the tables of flags of a kind, by key.
func tablesOf(data schema.Fielder) map[string][]kind.Flag {
	all := tables{}
	data.Fields(flagsOnly{&entry{}, "", all})
	return all
}

type tables map[string][]kind.Flag

type flagsOnly struct {
	schema.Fields
	at  string
	all tables
}

func (f flagsOnly) Text(string, *schema.Text, schema.Help)   {}
func (f flagsOnly) Bytes(string, *schema.Text, schema.Help)  {}
func (f flagsOnly) Int(string, *schema.Number, schema.Int)   {}
func (f flagsOnly) Mode(string, *schema.Number, schema.Help) {}
func (f flagsOnly) Bool(string, *schema.Bool, schema.Help)   {}
func (f flagsOnly) List(string, schema.List, schema.Help)    {}
func (f flagsOnly) Either(string, schema.Either)             {}

func (f flagsOnly) Flags(key string, _ *schema.Flags, table []schema.Flag, _ schema.Help) {
	f.all[f.at+key] = table
}

func (f flagsOnly) Group(key string, _ *schema.Pos, body func(schema.Fields), _ schema.Help) {
	if key != "expect" {
		body(flagsOnly{f.Fields, key + ".", f.all})
	}
}

// TestReadPipe holds what is said of a pipe, and of what cannot be seen of it.
func TestReadPipe(t *testing.T) {
	r := fakeEnd{link: "pipe:[1]", mode: unix.S_IFIFO, size: 4096, waiting: 3, front: 3, content: "abc"}
	w := r
	w.flags = unix.O_WRONLY | unix.O_NONBLOCK
	broken, refused, part := r, r, r
	broken.err, refused.copyErr, part.part = unix.EIO, unix.EPERM, true
	empty, packets, front := w, r, r
	empty.waiting = 0
	packets.content, packets.waiting = "ab|c", 3
	front.waiting, front.front = 5000, 4000
	const onePage = "read: all that waits is in one page, and how much of that was read is not visible, always"
	said := func(keys ...string) []string { return append(keys, "mode", "owner[0]", "owner[1]") }
	for _, c := range []struct {
		name   string
		ends   []kind.LiveEnd
		wants  []string
		said   []string
		unseen []string
	}{
		{"both ends", []kind.LiveEnd{w, r}, nil, said("capacity", "content", "packet", "flags.r", "flags.w"), []string{onePage}},
		{"only the read end", []kind.LiveEnd{r}, nil, said("capacity", "content", "flags.r"), []string{onePage}},
		{"only the write end", []kind.LiveEnd{w}, nil, said("capacity", "packet", "flags.w"), []string{"content: 3 bytes wait in the pipe, and no task has its read end, always", "read: no task has its read end, always"}},
		{"only the write end of an empty one", []kind.LiveEnd{empty}, nil, said("capacity", "content", "packet", "read", "flags.w"), nil},
		{"not asked for", []kind.LiveEnd{refused}, []string{}, said("flags.r"), nil},
		{"the content is not asked for", []kind.LiveEnd{part}, []string{"capacity"}, said("capacity", "flags.r"), nil},
		{"no copy", []kind.LiveEnd{refused}, nil, said("flags.r"), []string{"capacity: operation not permitted", "content: operation not permitted", "read: operation not permitted"}},
		{"calls fail", []kind.LiveEnd{broken}, nil, said("flags.r"), []string{"capacity: fcntl(F_GETPIPE_SZ): input/output error", "content: ioctl(FIONREAD): input/output error", "read: ioctl(FIONREAD): input/output error"}},
		{"only a part", []kind.LiveEnd{part}, nil, said("capacity", "flags.r"), []string{"content: more waits in the pipe than this process may copy at once (fs.pipe-max-size): 3 bytes of 3", onePage}},
		{"packets", []kind.LiveEnd{packets, w}, nil, said("capacity", "content[0]", "content[1]", "packet", "flags.r", "flags.w"), nil},
		{"a part of the first page was read", []kind.LiveEnd{front}, nil, said("capacity", "content", "read", "flags.r"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p kind.Pipe
			var unseen []string
			for _, u := range p.Read(fakeLive{ends: c.ends, wants: c.wants}) {
				text := u.Key + ": " + u.Why
				if u.Always {
					text += ", always"
				}
				unseen = append(unseen, text)
			}
			said := schema.Said(&p)
			slices.Sort(said)
			slices.Sort(c.said)
			if !slices.Equal(said, c.said) || !slices.Equal(unseen, c.unseen) {
				t.Errorf("said %v, want %v; unseen %q, want %q", said, c.said, unseen, c.unseen)
			}
			if slices.Contains(said, "content") && len(c.ends) == 2 && p.Content.Value != "abc" {
				t.Errorf("content %q", p.Content.Value)
			}
		})
	}
}

// TestReadRegCopiesNothing holds that a file with a server is never copied.
func TestReadRegCopiesNothing(t *testing.T) {
	copies := 0
	var r kind.Reg
	e := fakeEnd{link: "/mnt/x.log", mode: unix.S_IFREG, offset: 7, copies: &copies, copyErr: errors.New("never")}
	if unseen := r.Read(fakeLive{ends: []kind.LiveEnd{e}}); copies != 0 || len(unseen) != 0 || r.Offset.Value != 7 || !strings.HasSuffix(r.Hint(), "x.log") {
		t.Errorf("%d copies, %v, %+v", copies, unseen, r)
	}
}

// readCase is a live open file, and what its kind says of it.
type readCase struct {
	name   string
	spec   kind.Readable
	end    fakeEnd
	said   []string // keys with their values
	unseen []string
}

func testRead(t *testing.T, cases []readCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var unseen []string
			for _, u := range c.spec.Read(fakeLive{ends: []kind.LiveEnd{c.end}}) {
				text := u.Key + ": " + u.Why
				if u.Always {
					text += ", always"
				}
				unseen = append(unseen, text)
			}
			spec := c.spec.(tasktree.Spec)
			var said []string
			for _, v := range schema.Values(spec) {
				said = append(said, v.Path+" "+v.Text)
			}
			if diff := cmp.Diff(c.said, said, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.unseen, unseen, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("unseen (-want +got):\n%s", diff)
			}
			if k, ok := kind.Of(c.end); !ok || k.Name != spec.Kind() {
				t.Errorf("the end is of kind %q", k.Name)
			}
		})
	}
}
