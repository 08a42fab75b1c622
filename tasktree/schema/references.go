package schema

import "strconv"

// Reference is the name of a task or an open file among the values of data.
type Reference struct {
	Path string // of its key
	To   Referent
	Name *Text // may be changed, if the referent is renamed
}

// References lists the references of data.
func References(data Fielder) []Reference {
	var r Referrer
	return r.Of(data)
}

// Referrer finds references. It does not allocate for data without references. The zero
// value is ready. Only one goroutine may use it at a time.
type Referrer struct {
	found []Reference
	at    string
}

var _ Fields = (*Referrer)(nil)

// Of lists the references of data. The result is valid until the next call.
func (r *Referrer) Of(data Fielder) []Reference {
	r.found, r.at = r.found[:0], ""
	data.Fields(r)
	return r.found
}

func (r *Referrer) below(key string, visit func()) {
	was := r.at
	r.at = record{at: was}.path(key)
	visit()
	r.at = was
}

// Ref implements [Fields].
func (r *Referrer) Ref(key string, v *Text, to Referent, _ Help) {
	if v.Said() {
		r.found = append(r.found, Reference{Path: record{at: r.at}.path(key), To: to, Name: v})
	}
}

// List implements [Fields].
func (r *Referrer) List(key string, l List, _ Help) {
	for i := range l.Len() {
		r.below(key, func() {
			r.at += "[" + strconv.Itoa(i) + "]"
			l.Item(i, r)
		})
	}
}

// Map implements [Fields].
func (r *Referrer) Map(key string, m Map, _ Help) {
	for i := range m.Len() {
		r.below(key, func() { r.below(m.Key(i), func() { m.Item(i, r) }) })
	}
}

// Group implements [Fields].
func (r *Referrer) Group(key string, _ *Pos, body func(Fields), _ Help) {
	r.below(key, func() { body(r) })
}

// Either implements [Fields].
func (r *Referrer) Either(key string, e Either) {
	r.below(key, func() { e.Whole(r) })
}

// Ends implements [Fields].
func (r *Referrer) Ends(key string, e Ends) {
	if len(e.Names) == 0 {
		e.Bind(r, key, 0)
		return
	}
	r.below(key, func() {
		for end, name := range e.Names {
			e.Bind(r, name, end)
		}
	})
}

// Choice implements [Fields].
func (r *Referrer) Choice(_ string, c Choice, _ Help) {
	if _, data := c.Chosen(); data != nil {
		data.Fields(r)
	}
}

// Text implements [Fields].
func (*Referrer) Text(string, *Text, Help) {}

// Arg implements [Fields].
func (*Referrer) Arg(string, *Text, Help) {}

// Bytes implements [Fields].
func (*Referrer) Bytes(string, *Text, Help) {}

// Word implements [Fields].
func (*Referrer) Word(string, *Text, []string, Help) {}

// Int implements [Fields].
func (*Referrer) Int(string, *Number, Int) {}

// Uint implements [Fields].
func (*Referrer) Uint(string, *Unsigned, Uint) {}

// Mode implements [Fields].
func (*Referrer) Mode(string, *Number, Help) {}

// Bool implements [Fields].
func (*Referrer) Bool(string, *Bool, Help) {}

// Time implements [Fields].
func (*Referrer) Time(string, *Time, Help) {}

// Flags implements [Fields].
func (*Referrer) Flags(string, *Flags, []Flag, Help) {}

// Short implements [Fields].
func (*Referrer) Short(string, bool, Help) {}

// Place implements [Fields].
func (*Referrer) Place(string, *Pos, *Pos) {}
