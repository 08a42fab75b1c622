package schema

import (
	"fmt"
	"strconv"
)

// entry is one value of the data.
type entry struct {
	path  string // "flags.r", "targets[2].fd"
	text  string
	said  bool
	pos   Pos
	want  Demand
	moves bool
	num   int64 // for AtLeast
}

// record is a visitor that lists the values of data.
type record struct {
	at  string
	all *[]entry
}

var _ Fields = record{}

func entriesOf(data Fielder) []entry {
	var all []entry
	data.Fields(record{all: &all})
	return all
}

func (r record) path(key string) string {
	switch {
	case r.at == "":
		return key
	case key == "":
		return r.at
	default:
		return r.at + "." + key
	}
}

func (r record) add(key, text string, said bool, pos Pos, h Help) *entry {
	*r.all = append(*r.all, entry{path: r.path(key), text: text, said: said, pos: pos, want: h.Compare, moves: h.Moves})
	return &(*r.all)[len(*r.all)-1]
}

func (r record) Text(key string, v *Text, h Help) {
	r.add(key, strconv.Quote(v.Value), v.Said(), v.Pos, h)
}
func (r record) Arg(key string, v *Text, h Help)              { r.Text(key, v, h) }
func (r record) Bytes(key string, v *Text, h Help)            { r.Text(key, v, h) }
func (r record) Word(key string, v *Text, _ []string, h Help) { r.Text(key, v, h) }

func (r record) Ref(key string, v *Text, _ Referent, h Help) { r.Text(key, v, h) }

func (r record) Int(key string, v *Number, i Int) {
	r.add(key, strconv.FormatInt(v.Value, 10), v.Said(), v.Pos, i.Help).num = v.Value
}

func (r record) Uint(key string, v *Unsigned, u Uint) {
	r.add(key, strconv.FormatUint(v.Value, 10), v.Said(), v.Pos, u.Help)
}

func (r record) Mode(key string, v *Number, h Help) {
	r.add(key, fmt.Sprintf("%#o", v.Value), v.Said(), v.Pos, h).num = v.Value
}

func (r record) Bool(key string, v *Bool, h Help) {
	r.add(key, strconv.FormatBool(v.Value), v.Said(), v.Pos, h)
}

func (r record) Time(key string, v *Time, h Help) {
	r.add(key, v.Value.String(), v.Said(), v.Pos, h).num = int64(v.Value)
}

func (r record) Flags(key string, v *Flags, table []Flag, h Help) {
	r.add(key, Shows(v.Bits, table), v.Said(), v.Pos, h)
}

func (r record) List(key string, l List, h Help) {
	if w, ok := l.(Worded); ok && w.Word().Said() {
		r.Text(key, w.Word(), h)
	}
	for i := range l.Len() {
		l.Item(i, record{r.path(key) + "[" + strconv.Itoa(i) + "]", r.all})
	}
}

func (r record) Map(key string, m Map, _ Help) {
	for i := range m.Len() {
		m.Item(i, record{r.path(key) + "." + m.Key(i), r.all})
	}
}

func (r record) Group(key string, _ *Pos, body func(Fields), _ Help) {
	body(record{r.path(key), r.all})
}

func (r record) Either(key string, e Either) { e.Whole(record{r.path(key), r.all}) }

func (r record) Ends(key string, e Ends) {
	if len(e.Names) == 0 {
		e.Bind(r, key, 0)
		return
	}
	in := record{r.path(key), r.all}
	for end, name := range e.Names {
		e.Bind(in, name, end)
	}
}

func (record) Short(string, bool, Help) {}

func (r record) Choice(key string, c Choice, h Help) {
	name, data := c.Chosen()
	r.add(key, name, name != "", Pos{}, h)
	if data != nil {
		data.Fields(r)
	}
}

func (record) Place(string, *Pos, *Pos) {}
