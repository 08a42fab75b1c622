package images

import (
	"slices"
	"strconv"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// table is the mapping of a task's descriptors.
type table struct {
	*tasktree.Task
	covers func(fd int) bool // Cloexec.Covers, nil until it is needed

	// Used by the decoder:
	unread  []int     // numbers whose entries did not decode
	sorted  bool      // unread is sorted
	unknown bool      // there are entries of which not even the number decoded
	stays   []staying // descriptors with cloexec: false
}

// staying is a descriptor with "cloexec: false".
type staying struct {
	fd int
	at node // of the value
}

func (t *table) Len() int         { return len(t.FDs) }
func (t *table) Key(i int) string { return strconv.Itoa(t.FDs[i].FD) }
func (*table) Keys() string       { return "^(0|[1-9][0-9]*)$" }

func (t *table) Drop() {
	last := len(t.FDs) - 1
	t.unread = append(t.unread, t.FDs[last].FD)
	t.FDs = t.FDs[:last]
}

// Grow implements [schema.Grower].
func (t *table) Grow(n int) { t.FDs = make([]tasktree.Descriptor, 0, n) }

func (t *table) Add(key schema.Text, bad func(string, ...any)) bool {
	n, err := strconv.Atoi(key.Value)
	if err != nil || !decimal(key.Value) || n > tasktree.MaxFD {
		bad("%q is not a descriptor; write a number from 0 to %d, without a sign or leading zero", abbreviate(key.Value), tasktree.MaxFD)
		if err == nil {
			t.unread = append(t.unread, n)
		}
		t.unknown = t.unknown || err != nil
		return false
	}
	t.FDs = append(t.FDs, tasktree.Descriptor{FD: n, Pos: key.Pos})
	return true
}

func (t *table) Item(i int, f schema.Fields) {
	d := &t.FDs[i]
	cloexec := schema.Bool{Value: d.Cloexec}
	if d.Cloexec { // never set while a description is decoded
		if t.covers == nil {
			t.covers = t.Cloexec.Covers()
		}
		cloexec.Value = !t.covers(d.FD)
	}
	f.Short("file", !cloexec.Value, schema.Help{Want: "the name of an open file, or {file: NAME, cloexec: true}"})
	f.Ref("file", &d.File, schema.ToFile, schema.Help{Required: true})
	f.Bool("cloexec", &cloexec, schema.Help{Doc: "close-on-exec: FD_CLOEXEC of fcntl(2)", Default: "`false`"})
	if !cloexec.Pos.IsValid() {
		return
	}
	d.Cloexec = cloexec.Value
	if m, decodes := f.(*visit); decodes && !d.Cloexec {
		at, _ := m.got.get("cloexec")
		t.stays = append(t.stays, staying{d.FD, at})
	}
}

// lacks reports whether a number from lo to hi may be missing because its entry did not
// decode.
func (t *table) lacks(lo, hi int) bool {
	if !t.sorted {
		slices.Sort(t.unread)
		t.sorted = true
	}
	at, _ := slices.BinarySearch(t.unread, lo)
	return t.unknown || at < len(t.unread) && t.unread[at] <= hi
}

// cloexec is the list of close-on-exec descriptors.
type cloexec struct{ of *table }

var _ schema.Worded = cloexec{}

func (c cloexec) list() *tasktree.Cloexec { return &c.of.Cloexec }
func (c cloexec) Len() int                { return len(c.list().Ranges) }
func (c cloexec) Add()                    { c.list().Ranges = append(c.list().Ranges, schema.Text{}) }
func (c cloexec) Word() *schema.Text      { return &c.list().All }

// Item implements [schema.List]. If the entry of a number did not decode, it is not
// reported again that the number is missing.
func (c cloexec) Item(i int, f schema.Fields) {
	f.Text("", &c.list().Ranges[i], schema.Help{Want: "a descriptor, or a range such as 7-10"})
	if m, decodes := f.(*visit); decodes && (c.of.unknown || len(c.of.unread) > 0) {
		if lo, hi, ok := c.list().Range(i); ok && c.of.lacks(lo, hi) {
			m.d.unread(m.v.path())
		}
	}
}

// noMapping records that fds is not a mapping.
func (t *table) noMapping(f schema.Fields) {
	if m, decodes := f.(*visit); decodes {
		fds, said := m.got.get("fds")
		t.unknown = t.unknown || said && fds.n.Kind != mappingNode
	}
}

// contradicts reports descriptors with cloexec: false that the task's list contains.
func (t *table) contradicts(f schema.Fields) {
	m, decodes := f.(*visit)
	if !decodes || len(t.stays) == 0 || !t.Cloexec.Said() {
		return
	}
	where := t.Cloexec.Where()
	for _, s := range t.stays {
		pos, covered := where(s.fd)
		switch {
		case !covered || m.d.silent[s.at.path()]: // the value did not decode
		case t.Cloexec.All.Said():
			m.d.report(s.at.pos(), s.at, "cloexec: false contradicts the task's cloexec: all at %s; drop it here, or list the descriptors that are close-on-exec there", pos)
		default:
			m.d.report(s.at.pos(), s.at, "cloexec: false contradicts the task's cloexec, which has descriptor %d at %s; drop one of them", s.fd, pos)
		}
	}
}
