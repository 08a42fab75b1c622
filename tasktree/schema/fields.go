package schema

// Fielder is data that is described by keys.
type Fielder interface {
	// Fields binds each key once, in the order of the reference page. It may be called at
	// any time and by several goroutines: it does not change the data itself. A visitor
	// that decodes writes through the pointers.
	Fields(f Fields)
}

// Fields visits the keys of one mapping. Each method binds one key to one variable. The
// key "" binds the value itself if it is not a mapping, for example an entry of a list of
// strings.
type Fields interface {
	// Text is a string: any scalar that is not null, not empty and without NUL bytes.
	Text(key string, v *Text, h Help)

	// Arg is a Text that may be empty.
	Arg(key string, v *Text, h Help)

	// Bytes is a string of any bytes, which may be empty.
	Bytes(key string, v *Text, h Help)

	// Word is one of a few words.
	Word(key string, v *Text, words []string, h Help)

	// Ref is the name of a task or of an open file.
	Ref(key string, v *Text, to Referent, h Help)

	// Int is a decimal integer.
	Int(key string, v *Number, i Int)

	// Uint is a decimal integer that may be too large for an int64.
	Uint(key string, v *Unsigned, u Uint)

	// Mode is a file mode, 0 to 07777 or [Help.Highest]. It is octal, with a leading 0 or
	// 0o, or in quotes, with or without such a prefix.
	Mode(key string, v *Number, h Help)

	// Bool is true or false.
	Bool(key string, v *Bool, h Help)

	// Time is a duration as Go writes it, "1.5s"; not negative.
	Time(key string, v *Time, h Help)

	// Flags is a list of names from a table.
	Flags(key string, v *Flags, table []Flag, h Help)

	// List is a list of anything. See [Of] and [Texts].
	List(key string, l List, h Help)

	// Map is a mapping with keys that the description chooses.
	Map(key string, m Map, h Help)

	// Group is a mapping. Its position goes into at; body binds its keys.
	Group(key string, at *Pos, body func(f Fields), h Help)

	// Short allows a scalar in place of a mapping that has only this key. The key must be
	// bound, too. alone reports that the data has no other key.
	Short(key string, alone bool, h Help)

	// Either is a value with a short form, a scalar, and a whole form, a list or a
	// mapping.
	Either(key string, e Either)

	// Ends is a value that each end of an open file has for itself.
	Ends(key string, e Ends)

	// Choice is a mapping in which the value of one key decides which other keys there
	// are.
	Choice(key string, c Choice, h Help)

	// Place sets at to the position of a key's value, and alias to the position of the
	// alias that stands for it, if there is one.
	Place(key string, at, alias *Pos)
}

// Help is what the reference page and messages say about a key, and rules for its value.
type Help struct {
	// Doc is a phrase for the reference page, in Markdown; "" for none.
	Doc string

	// Default is the value if the key is left out, as the reference page shows it.
	Default string

	// Want names the form of the value in messages, "a list of the program and its
	// arguments, such as [ls, -l]"; "" for the default of the method.
	Want string

	// Item names the form of an entry of a list or a mapping, "a task (a mapping with
	// name, fds and so on)"; "" for "a mapping". For a list of flags it is the noun for
	// one flag, without an article: "signal"; "" for "flag".
	Item string

	// Empty is the message if a list or mapping has no entries: what is wrong, and what
	// to do. "" if it may be empty.
	Empty string

	// Word is a scalar that may replace a list, which must then be [Worded]; "" for
	// none.
	Word string

	// Most is the largest number of entries of a list, 0 for any number. More is the
	// message for an entry beyond it.
	Most int
	More string

	// Highest is the largest value of a Mode; 0 means 07777.
	Highest int64

	// Def is a name for the form of a value that may contain itself: a task, whose
	// children are tasks. The JSON Schema needs it.
	Def string

	// Required: the key must be there.
	Required bool

	// Compare says which values a comparison accepts.
	Compare Demand

	// Moves: running programs change the value: an offset, data in a pipe. It is
	// compared only if no program has run.
	Moves bool

	// Lines: the value is written over several lines, not in braces or brackets.
	Lines bool

	// Last: the key is written after the other keys, because its value may be long.
	Last bool
}

// Demand says which values a comparison accepts.
type Demand uint8

// The demands.
const (
	Equal   Demand = iota
	AtLeast        // the kernel may round the value up: capacities, buffers
	Ignore         // the key says how something is made, which cannot be read afterwards
)

// Int says which numbers a key accepts.
type Int struct {
	Help
	Lo, Hi int64
	Unit   string // "bytes"
	Of     string // what the number is, for messages: "a pid"; "" for "a number"
	Sized  bool   // the number may have a unit: 64KiB, 2MiB, 1GiB
}

// Uint says which unsigned numbers a key accepts.
type Uint struct {
	Help
	Hi uint64
	Of string // as in [Int]
}

// Either is the two forms of a value. Both set the same data.
type Either struct {
	Help

	// Scalar binds the key "" for the short form. Whole binds a list or a mapping to the
	// key "" for the other form.
	Scalar, Whole func(f Fields)

	// List binds a third form, a list beside a mapping; nil: there is none. It expresses
	// the same as the short form and is written in its place.
	List func(f Fields)

	// Alone: the short form can express the present value.
	Alone bool
}

// Ends has a value of each end of an open file: under the names of the ends, or, where the
// data has no ends, under the key itself.
type Ends struct {
	Help

	// Names are those of the ends that the data has; what they are may depend on keys
	// that were bound before. Others are those that data of this type may have, for the
	// JSON Schema.
	Names, Others []string

	// Bind binds the value of an end, by its index in Names, to a key.
	Bind func(f Fields, key string, end int)

	// Spread takes the value of the first end over to the others: one that is written
	// without ends, a list or a scalar, is that of all. nil: there is no such form.
	Spread func()
}

// Referent is the kind of thing that a name refers to.
type Referent uint8

// The referents.
const (
	ToTask Referent = iota
	ToFile          // an open file, with its end if its kind has ends: "jobs.w"
)

// List is a list that [Fields] visits.
type List interface {
	// Len returns the number of entries.
	Len() int

	// Add appends a zero entry.
	Add()

	// Item binds the keys of an entry.
	Item(i int, f Fields)
}

// Map is a mapping from chosen names that [Fields] visits.
type Map interface {
	// Len returns the number of entries.
	Len() int

	// Key returns the name of an entry.
	Key(i int) string

	// Add appends an entry with the given key. If the key is invalid, it reports that
	// with bad and returns false.
	Add(key Text, bad func(format string, args ...any)) bool

	// Item binds the keys of an entry.
	Item(i int, f Fields)

	// Keys returns a regular expression for the keys, "" if any text is valid.
	Keys() string
}

// Worded is a [List] that a word may replace: [Help.Word].
type Worded interface {
	// Word returns the variable for the word.
	Word() *Text
}

// Splicer is a [List] or a [Map] that can take the entries of another one. Large
// descriptions are decoded in pieces.
type Splicer interface {
	// Splice appends the entries of from, which is of the same type.
	Splice(from any)
}

// Grower is a [List] or a [Map] that can allocate room for many entries at once.
type Grower interface {
	// Grow makes room for n entries. It is called before the first Add.
	Grow(n int)
}

// Dropper is a [Map] that can remove an entry whose value did not decode, so that the
// rules do not report the same problem again.
type Dropper interface {
	// Drop removes the last entry.
	Drop()
}

// Choice is data of one of several types, each with a name and keys of its own.
type Choice interface {
	// Names lists the types in the order of the reference page.
	Names() []string

	// Chosen returns the name of the chosen type and the data, nil if there is none.
	Chosen() (name string, data Fielder)

	// Choose sets and returns zero data of a type, to be filled in. ok is false if there
	// is no type of that name.
	Choose(name string) (data Fielder, ok bool)

	// Meant returns the name that a wrong name was likely meant to be, or "".
	Meant(name string) string

	// Spoil records that some values of the data did not decode.
	Spoil()
}

// Of returns a List of structs.
func Of[T any, P interface {
	*T
	Fielder
}](s *[]T,
) List {
	return (*listOf[T, P])(s)
}

type listOf[T any, P interface {
	*T
	Fielder
}] []T

func (l *listOf[T, P]) Len() int { return len(*l) }

func (l *listOf[T, P]) Add() {
	var zero T
	*l = append(*l, zero)
}

func (l *listOf[T, P]) Item(i int, f Fields) { P(&(*l)[i]).Fields(f) }

// Texts returns a List of strings.
func Texts(s *[]Text) List { return (*texts)(s) }

type texts []Text

func (l *texts) Len() int             { return len(*l) }
func (l *texts) Add()                 { *l = append(*l, Text{}) }
func (l *texts) Item(i int, f Fields) { f.Text("", &(*l)[i], Help{}) }

// Refs makes a list of names that refer to something.
func Refs(s *[]Text, to Referent, h Help) List { return &refs{s, to, h} }

type refs struct {
	names *[]Text
	to    Referent
	help  Help // of an entry
}

func (l *refs) Len() int             { return len(*l.names) }
func (l *refs) Add()                 { *l.names = append(*l.names, Text{}) }
func (l *refs) Item(i int, f Fields) { f.Ref("", &(*l.names)[i], l.to, l.help) }

// Numbers makes a list of numbers.
func Numbers(s *[]Number, i Int) List { return &numbers{s, i} }

type numbers struct {
	all *[]Number
	of  Int
}

func (l *numbers) Len() int             { return len(*l.all) }
func (l *numbers) Add()                 { *l.all = append(*l.all, Number{}) }
func (l *numbers) Item(i int, f Fields) { f.Int("", &(*l.all)[i], l.of) }

// Said lists the paths of the keys that are set, with those of nested mappings:
// "flags.r".
func Said(data Fielder) (paths []string) {
	for _, e := range entriesOf(data) {
		if e.said {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// Shown is a key and its value as messages show them.
type Shown struct{ Path, Text string }

// Values lists the values that are set, as messages show them, with those of nested
// mappings.
func Values(data Fielder) (values []Shown) {
	for _, e := range entriesOf(data) {
		if e.said {
			values = append(values, Shown{e.path, e.text})
		}
	}
	return values
}

// Moving lists the paths of the keys that running programs change, see [Help.Moves], with
// those of nested mappings.
func Moving(data Fielder) (paths []string) {
	for _, e := range entriesOf(data) {
		if e.moves {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// Compared lists the paths of the keys that a comparison considers, with those of nested
// mappings.
func Compared(data Fielder) (paths []string) {
	for _, e := range entriesOf(data) {
		if e.want != Ignore {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// Keys lists the keys of data, without those of nested mappings.
func Keys(data Fielder) (keys []string) {
	for _, row := range Rows(data) {
		keys = append(keys, row.Key)
	}
	return keys
}

// Place returns the position of the first value that is set. It is not valid if no value
// comes from a description.
func Place(data Fielder) Pos {
	for _, e := range entriesOf(data) {
		if e.pos.IsValid() {
			return e.pos
		}
	}
	return Pos{}
}
