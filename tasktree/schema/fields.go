package schema

// Fielder is data whose keys a description has.
type Fielder interface {
	// Fields binds each key once, in the order of the reference page. It may be
	// called at any time and by several goroutines: it does not change the data
	// by itself. The visitor writes through the pointers if it decodes.
	Fields(f Fields)
}

// Fields visits the keys of one mapping. Every method binds one key to one
// variable; the key "" stands for the value itself, where it is no mapping: an
// entry of a list of texts, for example.
type Fields interface {
	// Text is the source text of a scalar: not null, not empty, no NUL byte.
	Text(key string, v *Text, h Help)

	// Arg is a Text that may be empty.
	Arg(key string, v *Text, h Help)

	// Bytes is a text that may be empty and hold any byte.
	Bytes(key string, v *Text, h Help)

	// Word is a Text out of a few.
	Word(key string, v *Text, words []string, h Help)

	// Ref is the name of a task or of an open file.
	Ref(key string, v *Text, to Referent, h Help)

	// Int is a decimal integer.
	Int(key string, v *Number, i Int)

	// Uint is a decimal integer for which an int64 is too small.
	Uint(key string, v *Unsigned, u Uint)

	// Mode is a file mode, 0 to 07777 or [Help.Highest]: octal with a leading 0 or
	// 0o, or in quotes, with or without these.
	Mode(key string, v *Number, h Help)

	// Bool is true or false.
	Bool(key string, v *Bool, h Help)

	// Time is a duration as Go writes it, "1.5s"; not negative.
	Time(key string, v *Time, h Help)

	// Flags is a list of names out of a table.
	Flags(key string, v *Flags, table []Flag, h Help)

	// List is a list of anything. See [Of] and [Texts].
	List(key string, l List, h Help)

	// Map is a mapping whose keys are names that the description chooses.
	Map(key string, m Map, h Help)

	// Group is a mapping of its own. at takes its place; body binds its keys.
	Group(key string, at *Pos, body func(f Fields), h Help)

	// Short lets a scalar stand for a mapping that has nothing but the key, which
	// must be bound, too. alone says that the key is all that the data has.
	Short(key string, alone bool, h Help)

	// Either is a value that has a short form, a scalar, beside its whole one, a
	// list or a mapping.
	Either(key string, e Either)

	// Choice is a mapping in which the value of one key decides what the other
	// keys are.
	Choice(key string, c Choice, h Help)

	// Place takes the place of the value of a key, where there is one, and of an
	// alias in whose stead it stands.
	Place(key string, at, alias *Pos)
}

// Help is what is said of a key.
type Help struct {
	// Doc is a phrase for the reference page, in Markdown; "" says nothing.
	Doc string

	// Default is what counts if the key is left out, as the page says it.
	Default string

	// Want names the form of the value in messages, "a list of the program and
	// its arguments, such as [ls, -l]"; "" for what the method has by itself.
	Want string

	// Item names the form of an entry of a list or a mapping, "a task (a mapping
	// with name, fds and so on)"; "" for "a mapping". Of a list of flags it is what
	// one is called, without an article: "signal"; "" for "flag".
	Item string

	// Empty says what is wrong with a list or mapping without entries, and the
	// cure; "" if nothing is.
	Empty string

	// Word is a scalar that may stand in place of a list, which must be [Worded]
	// then; "" for none.
	Word string

	// Most is how many entries a list has at most, 0 for any number; More says
	// what is wrong with one beyond.
	Most int
	More string

	// Highest is the highest number of a Mode; 0: 07777.
	Highest int64

	// Def names the form of a value that may contain itself: a task, whose
	// children are tasks.
	Def string

	// Required: without the key the description is wrong.
	Required bool

	// Compare says what a comparison demands.
	Compare Demand

	// Moves: programs change the value as they run: an offset, what waits in a
	// pipe. It is compared only where none has run.
	Moves bool

	// Lines: it is written over several lines, not in braces or brackets.
	Lines bool

	// Last: it is written behind the other keys, since it may be long.
	Last bool
}

// Demand says when two values of a key are as good as equal.
type Demand uint8

// The demands.
const (
	Equal   Demand = iota
	AtLeast        // the kernel may round up: capacities, buffers
	Ignore         // it says how the value comes to be and is not there to be read
)

// Int says which numbers a key takes.
type Int struct {
	Help
	Lo, Hi int64
	Unit   string // "bytes"
	Of     string // what it is a number of, for messages: "a pid"; "" for "a number"
	Sized  bool   // it may have a unit: 64KiB, 2MiB, 1GiB
}

// Uint says which unsigned numbers a key takes.
type Uint struct {
	Help
	Hi uint64
	Of string // as in [Int]
}

// Either has the two forms of a value, which are about the same data.
type Either struct {
	Help

	// Scalar binds the key "" for the short form. Whole binds the other one: a list
	// or a mapping under the key "".
	Scalar, Whole func(f Fields)

	// Alone: the short form can say all that the data has.
	Alone bool
}

// Referent is what a name refers to.
type Referent uint8

// The referents.
const (
	ToTask Referent = iota
	ToFile          // an open file, with its end where it has ends: "jobs.w"
)

// List is a list as [Fields] sees it.
type List interface {
	// Len gives the number of entries.
	Len() int

	// Add appends a zero entry.
	Add()

	// Item binds the keys of an entry.
	Item(i int, f Fields)
}

// Map is a mapping from chosen names, as [Fields] sees it.
type Map interface {
	// Len gives the number of entries.
	Len() int

	// Key gives the name of an entry.
	Key(i int) string

	// Add appends an entry with the given key. If the key cannot be one, it says
	// so with bad, and gives false.
	Add(key Text, bad func(format string, args ...any)) bool

	// Item binds the keys of an entry.
	Item(i int, f Fields)

	// Keys describes the keys: a regular expression, "" for any text.
	Keys() string
}

// Worded is a [List] that a word may stand for: [Help.Word].
type Worded interface {
	// Word is the variable that takes it.
	Word() *Text
}

// Splicer is a [List] or a [Map] that takes over the entries of another of its
// type: large descriptions are decoded in pieces.
type Splicer interface {
	// Splice appends the entries of from, which is of the same type.
	Splice(from any)
}

// Grower is a [List] or a [Map] that makes room for that many entries at once.
type Grower interface {
	// Grow is called before the first entry is added.
	Grow(n int)
}

// Dropper is a [Map] that leaves out an entry whose value did not decode, so that
// the rules do not find the same problem again.
type Dropper interface {
	// Drop leaves out the last entry.
	Drop()
}

// Choice is data of one of several types, each with a name and keys of its own.
type Choice interface {
	// Names lists the types in the order of the reference page.
	Names() []string

	// Chosen gives the data with the name of its type, nil if there is none.
	Chosen() (name string, data Fielder)

	// Choose takes zero data of a type, which is to be filled in. ok is false if
	// there is no such type.
	Choose(name string) (data Fielder, ok bool)

	// Meant gives the name that was likely meant by another one, or "".
	Meant(name string) string

	// Spoil is told that some values of the data did not decode.
	Spoil()
}

// Of makes a list of structs.
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

// Texts makes a list of texts.
func Texts(s *[]Text) List { return (*texts)(s) }

type texts []Text

func (l *texts) Len() int             { return len(*l) }
func (l *texts) Add()                 { *l = append(*l, Text{}) }
func (l *texts) Item(i int, f Fields) { f.Text("", &(*l)[i], Help{}) }

// Said lists the keys that some data says, with those of mappings inside of it:
// "flags.r".
func Said(data Fielder) (paths []string) {
	for _, e := range entriesOf(data) {
		if e.said {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// Shown is a value as messages show it.
type Shown struct{ Path, Text string }

// Values lists the values that some data says, as messages show them, with those of
// mappings inside of it.
func Values(data Fielder) (values []Shown) {
	for _, e := range entriesOf(data) {
		if e.said {
			values = append(values, Shown{e.path, e.text})
		}
	}
	return values
}

// Moving lists the keys that programs change as they run, see [Help.Moves], with those
// of mappings inside of it.
func Moving(data Fielder) (paths []string) {
	for _, e := range entriesOf(data) {
		if e.moves {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// Compared lists the keys that a comparison looks at, with those of mappings inside of
// the data.
func Compared(data Fielder) (paths []string) {
	for _, e := range entriesOf(data) {
		if e.want != Ignore {
			paths = append(paths, e.path)
		}
	}
	return paths
}

// Keys lists the keys of some data, not those of mappings inside of it.
func Keys(data Fielder) (keys []string) {
	for _, row := range Rows(data) {
		keys = append(keys, row.Key)
	}
	return keys
}

// Place gives the place of the first value that some data says; not valid if none
// comes from a description.
func Place(data Fielder) Pos {
	for _, e := range entriesOf(data) {
		if e.pos.IsValid() {
			return e.pos
		}
	}
	return Pos{}
}
