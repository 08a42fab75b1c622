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

// Reopen is another open file of what an entry has open: one inode, with an offset and
// flags of its own. It is what open(2) of /proc/self/fd/N gives.
type Reopen struct {
	File   tasktree.Text // its name, with the end where it has ends
	Flags  Flags         // O_RDONLY if it names no access mode
	Offset tasktree.Number
}

// reopened is a kind whose open files can be opened again.
type reopened interface {
	// Reopens says why this one cannot be, "" if it can.
	Reopens(t *tasktree.Tree) string

	// Anonymous reports whether nothing else leads to the file: two entries are two
	// files then.
	Anonymous() bool
}

// Anonymous reports whether an entry of this kind is a file of its own: no other entry
// but a [Reopen] can be it.
func Anonymous(s tasktree.Spec) bool {
	r, ok := s.(reopened)
	return ok && r.Anonymous()
}

var reopenFlags = func() []Flag {
	table := []Flag{
		{Name: "O_RDONLY", Bits: unix.O_RDONLY},
		{Name: "O_WRONLY", Bits: unix.O_WRONLY},
		{Name: "O_RDWR", Bits: unix.O_RDWR},
		{Name: "O_ASYNC", Bits: unix.O_ASYNC},
		{Name: "O_DIRECT", Bits: unix.O_DIRECT},
		{Name: "O_DIRECTORY", Bits: unix.O_DIRECTORY},
		{Name: "O_DSYNC", Bits: unix.O_DSYNC},
		{Name: "O_SYNC", Bits: unix.O_SYNC},
	}
	table = append(table, always...)
	for name, why := range map[string]string{
		"O_CLOEXEC":   refuseCloexec,
		"O_CREAT":     "the file is there already; drop it",
		"O_EXCL":      "the file is there already; drop it",
		"O_LARGEFILE": "it is always there; drop it",
		"O_NOCTTY":    "a terminal never becomes the controlling one; drop it",
		"O_NOFOLLOW":  "a file that is opened again loses it; name its path in an entry of type reg",
		"O_PATH":      "a mere place is named by its path, in an entry of type reg",
		"O_TMPFILE":   "the file is there already; drop it",
		"O_TRUNC":     "what it would cut off is what the other entry has just filled in; drop it",
	} {
		table = append(table, Flag{Name: name, Refuse: why})
	}
	slices.SortStableFunc(table[3:], func(a, b Flag) int { return strings.Compare(a.Name, b.Name) })
	return table
}()

func init() {
	register(Kind{
		Name: "reopen",
		Also: []string{"again", "inode", "description", "dup", "second"},
		New:  func() tasktree.Spec { return &Reopen{} },
		Doc: "Another open file of what an entry of type `memfd`, `pipe` or `reg` has open, with an offset and flags of its own: a read-only one of a memory file, " +
			"one of a file that has no name any more, one of a pipe for reading and writing. Other kinds have one open file only: there the same entry is named in both tasks. " +
			"If no task has the other entry, it is made all the same.",
		Rights:  "those that open(2) asks for, by the file's mode before `mode` and `owner` of the other entry are set; `O_NOATIME` is for the owner of the file, and with CAP_FOWNER.",
		Example: "mem: {type: memfd, name: shared, content: \"0123456789\", mode: 0400}\nmemro: {type: reopen, file: mem, flags: [O_RDONLY, O_NONBLOCK], offset: 3}\n",
	})
}

// Fields implements [schema.Fielder].
func (r *Reopen) Fields(f schema.Fields) {
	f.Ref("file", &r.File, schema.ToFile, schema.Help{
		Required: true, Compare: schema.Ignore, Doc: "name of the other entry; of a pipe an end, whichever",
	})
	f.Flags("flags", &r.Flags, reopenFlags, schema.Help{
		Doc: "list of `O_RDONLY`, `O_WRONLY` or `O_RDWR`, and `O_APPEND`, `O_ASYNC` (of a pipe), `O_DIRECT`, `O_DIRECTORY`, `O_DSYNC`, `O_NOATIME`, `O_NONBLOCK`, `O_SYNC`", Default: "`[O_RDONLY]`",
	})
	f.Int("offset", &r.Offset, schema.Int{Hi: maxOffset, Unit: "bytes", Help: schema.Help{Moves: true, Doc: "bytes from the start", Default: "0"}})
}

// Kind implements [tasktree.Spec].
func (*Reopen) Kind() string { return "reopen" }

// Ends implements [tasktree.Spec].
func (*Reopen) Ends() []string { return nil }

// name gives the name of the other entry.
func (r *Reopen) name() string {
	name, _, _ := strings.Cut(r.File.Value, ".")
	return name
}

// Base gives the entry whose file it opens again, nil if there is none.
func (r *Reopen) Base(t *tasktree.Tree) *tasktree.OpenFile { return t.FileNamed(r.name()) }

// Check implements [tasktree.Spec].
func (r *Reopen) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	access := ""
	for i, item := range r.Flags.Items {
		switch name := item.Flag.Name; name {
		case "O_RDONLY", "O_WRONLY", "O_RDWR":
			if access != "" && access != name {
				report(tasktree.Problem{Pos: item.Pos, Path: fmt.Sprintf("flags[%d]", i), Msg: fmt.Sprintf("%s and %s exclude each other; a file has one access mode", name, access)})
			}
			access = name
		}
	}
	if r.Offset.Value < 0 {
		report(tasktree.Problem{Pos: r.Offset.Pos, Path: "offset", Msg: fmt.Sprintf("offset %d is before the start of the file", r.Offset.Value)})
	}
}

// Relate implements [tasktree.Related].
func (r *Reopen) Relate(t *tasktree.Tree, report func(tasktree.Problem)) {
	base := r.Base(t)
	if base == nil || base.Spec == nil {
		return
	}
	bad := func(pos tasktree.Pos, path, format string, args ...any) {
		report(tasktree.Problem{Pos: pos, Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	name := r.name()
	// The entry itself may be one that did not decode, or that the caller gives.
	k, _ := Lookup(base.Spec.Kind())
	zero := k.New()
	_, taken := zero.(tasktree.Taken)
	_, can := zero.(reopened)
	switch {
	case base.Spec.Kind() == r.Kind():
		bad(r.File.Pos, "file", "%q is opened again itself; name the entry that has the file first", name)
		return
	case taken:
		bad(r.File.Pos, "file", "%q is the caller's, and what can be done with it is not known; name its path in an entry of type reg", name)
		return
	case !can:
		bad(r.File.Pos, "file", "%s has one description only; name %q in both tasks instead", tasktree.WithArticle(base.Spec.Kind()), name)
		return
	}
	if again, ok := base.Spec.(reopened); ok {
		if why := again.Reopens(t); why != "" {
			bad(r.File.Pos, "file", "%q %s", name, why)
			return
		}
	}
	_, pipe := base.Spec.(*Pipe)
	if pipe && r.Offset.Value != 0 {
		bad(r.Offset.Pos, "offset", "a pipe has no offset")
	}
	if _, memory := base.Spec.(*Memfd); !pipe && r.Flags.Bits&unix.O_ASYNC != 0 {
		what := "a file that is opened again"
		if memory {
			what = "a memfd"
		}
		bad(r.Flags.Pos, "flags", "%s sends no signals; drop O_ASYNC", what)
	}
}

// Traits implements [tasktree.Spec].
func (r *Reopen) Traits(*tasktree.Tree) tasktree.Traits {
	return tasktree.Traits{ByRunner: true, Writes: r.Flags.Bits&unix.O_ACCMODE != unix.O_RDONLY}
}

// Needs implements [tasktree.Ordered].
func (r *Reopen) Needs() []string { return []string{r.name()} }

// late are flags that open(2) does not take, or only seems to: of pipes.
func (r *Reopen) late(t *tasktree.Tree) int {
	if base := r.Base(t); base != nil {
		if _, pipe := base.Spec.(*Pipe); pipe {
			return r.Flags.Bits & (unix.O_ASYNC | unix.O_DIRECT)
		}
	}
	return 0
}

// Make implements [tasktree.Spec]: before the other entry gets its mode, which may not
// allow it.
func (r *Reopen) Make(t *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	end := 0
	if base := r.Base(t); base != nil {
		_, of, _ := strings.Cut(r.File.Value, ".")
		end = max(0, slices.Index(base.Spec.Ends(), of))
	}
	m.At(r.File.Pos)
	return []recipe.Ref{m.Reopen(recipe.Reopen{
		Of: m.Use(r.name(), end), Flags: r.Flags.Bits &^ r.late(t),
		Hints: []recipe.Hint{
			{Errno: int(unix.EACCES), Text: "the file's mode does not let this process open it so"},
			{Errno: int(unix.EINVAL), Text: "this file does not take O_DIRECT"},
			{Errno: int(unix.ENOTDIR), Text: "it is no folder; drop O_DIRECTORY"},
			{Errno: int(unix.ENXIO), Text: "what it is cannot be opened again; name the same entry in both tasks instead"},
			{Errno: int(unix.EPERM), Text: "O_NOATIME is for the owner of the file, and with CAP_FOWNER; an append-only file needs O_APPEND"},
		},
	})}
}

// Shape implements [tasktree.Shaped].
func (r *Reopen) Shape(t *tasktree.Tree, m recipe.Maker) {
	setFlags(m, m.Own(0), r.Flags, r.Flags.Bits&^r.late(t))
	setOffset(m, m.Own(0), r.Offset)
}

// End implements [Readable].
func (*Reopen) End(LiveEnd) int { return 0 }

// Hint implements [Readable].
func (*Reopen) Hint() string { return "again" }

// Made implements [Readable].
func (r *Reopen) Made(*tasktree.Tree) tasktree.Spec {
	made := *r
	made.Flags, made.Offset.Set = madeFlags(r.Flags), r.Flags.Bits&unix.O_APPEND == 0
	return &made
}

// Read implements [Readable]. Which entry it belongs to is for the reader to know.
func (r *Reopen) Read(l Live) []Unseen {
	e := l.Ends()[0]
	r.Flags = visible(reopenFlags, e.Flags())
	r.Offset = tasktree.Number{Value: e.Offset(), Set: true}
	return nil
}
