package kind

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Socket is what sockets of all families have, by end.
type Socket struct {
	Queue    [2][]Item      // what waits to be read there
	Shutdown [2]schema.Text // "rd", "wr", "rdwr"; "none" or ""
	Flags    [2]Flags       // O_NONBLOCK, O_ASYNC; O_APPEND and O_NOATIME without a meaning
	Owner    [2]Owner       // whom tools show
	Options  [2]Options
	Filter   [2][][]schema.Number // classic BPF: [code, jt, jf, k] each
	By       [2]schema.Text       // the task whose credentials it has: refused so far
}

var socketFlags = flagTable(refusals{
	access: "a socket is always open for reading and writing; leave the access mode out",
	direct: "a socket moves no blocks; drop it",
	others: "it is for a path, and a socket is not opened by one; drop it",
	own: map[string]string{
		"SOCK_CLOEXEC":  refuseCloexec,
		"SOCK_NONBLOCK": "write O_NONBLOCK",
	},
})

// shutWords are the directions that can be shut, by the bits that sock_diag(7) shows: 1
// for receiving, 2 for sending. shutdown(2) counts from 0.
var shutWords = []string{"none", "rd", "wr", "rdwr"}

// shutBits are the directions of a word.
func shutBits(word string) int { return max(0, slices.Index(shutWords, word)) }

// socketEnds are the names that ends of sockets may have.
var socketEnds = []string{"a", "b", "client", "server"}

// fields binds the keys. ends are those of the entry. queues names where something can
// wait, first is the index of the first of them.
func (s *Socket) fields(f schema.Fields, table []option, ends, queues []string, first int) {
	byEnd := func(key string, h schema.Help, names []string, bind func(f schema.Fields, key string, end int), spread func()) {
		f.Ends(key, schema.Ends{Help: h, Names: names, Others: socketEnds, Bind: bind, Spread: spread})
	}
	byEnd("queue", schema.Help{
		Doc:     "what waits to be read, by end: a list of texts, or mappings with `data`, `files` (names of open files), `from` (who has sent a datagram: an open file, or an address), `oob` (`true`: the last byte is out of band); all of it must fit into a send buffer of net.core.wmem_default",
		Default: "nothing",
	}, queues, func(f schema.Fields, key string, end int) {
		f.List(key, schema.Of(&s.Queue[min(first+end, 1)]), schema.Help{
			Want: "a list of what waits", Item: "a text, or a mapping with data, files, from, oob",
		})
	}, nil)
	byEnd("shutdown", schema.Help{Doc: "the directions that are shut, by end: `none`, `rd`, `wr` or `rdwr`, see shutdown(2)", Default: "`none`"}, ends, func(f schema.Fields, key string, end int) {
		f.Word(key, &s.Shutdown[end], shutWords, schema.Help{Moves: true})
	}, nil)
	byEnd("flags", schema.Help{Doc: "list of `O_NONBLOCK`, `O_ASYNC`, `O_APPEND`, `O_NOATIME`, for all ends or by end", Default: "none"}, ends,
		func(f schema.Fields, key string, end int) {
			f.Flags(key, &s.Flags[end], socketFlags, schema.Help{})
		}, func() { s.Flags[1] = s.Flags[0] })
	byEnd("owner", schema.Help{Doc: "a user, or `[USER, GROUP]`, as numbers, for all ends or by end: whom tools show", Default: "regrow's"}, ends,
		func(f schema.Fields, key string, end int) { s.Owner[end].bind(f, key, schema.Help{}) },
		func() { s.Owner[1] = s.Owner[0] })
	byEnd("options", schema.Help{Doc: "of setsockopt(2), by end: a mapping from names to values ([options of sockets](kinds.md#options-of-sockets))", Default: "those of a new socket"}, ends,
		func(f schema.Fields, key string, end int) { s.Options[end].bind(f, key, table) }, nil)
	byEnd("filter", schema.Help{Doc: "classic BPF, by end, see SO_ATTACH_FILTER of socket(7): a list of instructions `[code, jt, jf, k]`", Default: "none"}, ends,
		func(f schema.Fields, key string, end int) { bindFilter(f, key, &s.Filter[end]) }, nil)
	byEnd("by", schema.Help{Doc: "cannot be said yet: whose credentials the other side sees; they are regrow's", Compare: schema.Ignore}, ends,
		func(f schema.Fields, key string, end int) {
			f.Ref(key, &s.By[end], schema.ToTask, schema.Help{Compare: schema.Ignore})
		}, func() { s.By[1] = s.By[0] })
}

// at gives the path of a key of an end.
func at(key string, ends []string, end int) string {
	if len(ends) == 0 {
		return key
	}
	return key + "." + ends[end]
}

// check applies the rules that all sockets have.
func (s *Socket) check(ends []string, report func(tasktree.Problem)) {
	for end := range max(1, len(ends)) {
		s.Options[end].check(at("options", ends, end), report)
		checkFilter(s.Filter[end], s.Options[end].Pos, at("filter", ends, end), report)
		if by := s.By[end]; by.Said() {
			report(tasktree.Problem{Pos: by.Pos, Path: at("by", ends, end), Msg: "regrow cannot give a socket the credentials of a task yet; drop by"})
		}
	}
}

// shape gives an end its final form, once all queues are filled.
func (s *Socket) shape(m recipe.Maker, table []option, end, has int) {
	s.Options[end].shape(m, m.Own(end), table, s.Filter[end])
	if bits := shutBits(s.Shutdown[end].Value); bits > 0 {
		m.At(s.Shutdown[end].Pos)
		m.Call(recipe.Call{
			Name: "shutdown", Nr: unix.SYS_SHUTDOWN, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(m.Own(end)), recipe.Int(int64(bits - 1))},
		})
	}
	setFlags(m, m.Own(end), s.Flags[end], has)
	s.Owner[end].set(m, m.Own(end))
}

// made gives what is read of what was made so. Slices are its own.
func (s *Socket) made(ends []string) (made Socket) {
	for end := range max(1, len(ends)) {
		made.Flags[end] = madeFlags(s.Flags[end])
		made.Owner[end] = s.Owner[end]
		made.Owner[end].Any = true
		made.Options[end] = s.Options[end].made()
		made.Filter[end] = slices.Clone(s.Filter[end])
		made.Shutdown[end] = schema.Text{Value: shutWords[shutBits(s.Shutdown[end].Value)], Pos: s.Shutdown[end].Pos, Set: true}
	}
	return made
}

// settle leaves out what is not expected and was seen all the same.
func (s *Socket) settle(made *Socket) {
	for end := range s.Options {
		s.Options[end].settle(&made.Options[end])
	}
}

// turn swaps the ends.
func (s *Socket) turn() {
	s.Queue[0], s.Queue[1] = s.Queue[1], s.Queue[0]
	s.Shutdown[0], s.Shutdown[1] = s.Shutdown[1], s.Shutdown[0]
	s.Flags[0], s.Flags[1] = s.Flags[1], s.Flags[0]
	s.Owner[0], s.Owner[1] = s.Owner[1], s.Owner[0]
	s.Options[0], s.Options[1] = s.Options[1], s.Options[0]
	s.Filter[0], s.Filter[1] = s.Filter[1], s.Filter[0]
}

// Item is one thing that waits in a socket: a datagram, or bytes of a stream that are read
// by themselves.
type Item struct {
	Pos   tasktree.Pos
	Data  schema.Text
	Files []schema.Text // names of open files, sent with SCM_RIGHTS
	From  schema.Text   // who has sent a datagram: an address, or the name of an open file
	Creds schema.Text   // whose credentials come with it: refused so far
	OOB   schema.Bool   // its last byte is out of band, see MSG_OOB of send(2)
}

// maxFiles is how many files a message carries: SCM_MAX_FD in include/net/scm.h.
const maxFiles = 253

// Fields implements [schema.Fielder].
func (i *Item) Fields(f schema.Fields) {
	f.Place("", &i.Pos, nil)
	f.Short("data", len(i.Files) == 0 && !i.From.Said() && !i.Creds.Said() && !i.OOB.Said(), schema.Help{})
	f.Bytes("data", &i.Data, schema.Help{Moves: true, Want: `what waits, a text ("" for none)`})
	f.List("files", schema.Refs(&i.Files, schema.ToFile, schema.Help{Moves: true}), schema.Help{
		Want: "a list of names of open files", Item: "the name of an open file",
		Most: maxFiles, More: fmt.Sprintf("the kernel takes %d files in an item; put the others into another one", maxFiles),
	})
	refOrAddress(f, "from", &i.From, schema.Help{Moves: true})
	f.Ref("creds", &i.Creds, schema.ToTask, schema.Help{Compare: schema.Ignore})
	f.Bool("oob", &i.OOB, schema.Help{Moves: true})
}

// checkItems applies the rules of what waits.
func checkItems(items []Item, stream, oob bool, path string, report func(tasktree.Problem)) {
	urgent := -1
	for n := range items {
		i := &items[n]
		bad := func(pos tasktree.Pos, key, format string, args ...any) {
			if !pos.IsValid() {
				pos = i.Pos
			}
			report(tasktree.Problem{Pos: pos, Path: strings.TrimSuffix(fmt.Sprintf("%s[%d].%s", path, n, key), "."), Msg: fmt.Sprintf(format, args...)})
		}
		switch {
		case stream && i.Data.Value == "" && len(i.Files) > 0:
			bad(i.Files[0].Pos, "files", "a file in a stream needs at least one byte; write data")
		case stream && i.Data.Value == "":
			bad(i.Pos, "", "nothing waits in an empty item of a stream; drop it")
		case len(i.Files) > maxFiles: // a program's: a description is refused before
			bad(i.Files[maxFiles].Pos, "files", "%d files, and the kernel takes %d in an item", len(i.Files), maxFiles)
		}
		if i.Creds.Said() {
			bad(i.Creds.Pos, "creds", "regrow cannot set the credentials of a message yet; drop creds")
		}
		if !i.OOB.Value {
			continue
		}
		switch {
		case !oob:
			bad(i.OOB.Pos, "oob", "only a stream has an out-of-band byte")
		case len(i.Files) > 0:
			bad(i.OOB.Pos, "oob", "an out-of-band byte brings no files; put them into an item of their own")
		case urgent >= 0:
			bad(i.OOB.Pos, "oob", "there is one out-of-band byte at a time, and item %d has it; drop one of them", urgent)
		}
		urgent = n
	}
}

// send has an item sent, by a message that says how.
func (i *Item) send(t *tasktree.Tree, m recipe.Maker, message recipe.Message) {
	m.At(i.Pos)
	message.Data = []byte(i.Data.Value)
	if i.OOB.Value {
		message.Flags = unix.MSG_OOB
	}
	for _, name := range i.Files {
		message.Files = append(message.Files, useNamed(t, m, name.Value))
	}
	m.Message(message)
}

// useNamed gives an open file by its name, with its end where it has ends.
func useNamed(t *tasktree.Tree, m recipe.Maker, name string) recipe.Ref {
	file, end, _ := strings.Cut(name, ".")
	return m.Use(file, max(0, slices.Index(t.FileNamed(file).Spec.Ends(), end)))
}

// madeItems gives items as they are read: in a stream, boundaries are seen behind one with
// files and around an out-of-band byte only.
func madeItems(items []Item, stream bool) (made []Item) {
	add := func(i Item, joins bool) {
		if last := len(made) - 1; joins && last >= 0 && len(made[last].Files) == 0 && !made[last].OOB.Value {
			i.Data.Value = made[last].Data.Value + i.Data.Value
			i.Data.Pos = made[last].Data.Pos
			made = made[:last]
		}
		i.Data.Set = true
		made = append(made, i)
	}
	for _, i := range items {
		i.Files = slices.Clone(i.Files)
		if last := len(i.Data.Value) - 1; i.OOB.Value && last >= 0 {
			if last > 0 {
				add(Item{Data: schema.Text{Value: i.Data.Value[:last], Pos: i.Data.Pos}}, true)
			}
			i.Data.Value = i.Data.Value[last:]
			add(i, false)
			continue
		}
		add(i, stream)
	}
	return made
}

// readItems gives what waits in a socket.
func readItems(waiting []LiveItem, senders bool) (items []Item) {
	for _, w := range waiting {
		i := Item{Data: schema.Text{Value: string(w.Data), Set: true}}
		for _, name := range w.Files {
			i.Files = append(i.Files, schema.Text{Value: name, Set: true})
		}
		if senders {
			i.From = asAddress(nameText(w.From))
		}
		if w.OOB {
			i.OOB = schema.Bool{Value: true, Set: true}
		}
		items = append(items, i)
	}
	return items
}
