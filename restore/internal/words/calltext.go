package words

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// Call writes the call of an op with its arguments, by the table of package program.
//
// That table gives each argument of a call a form: n number, x hexadecimal number, o octal
// number, f flags of open(2), h flags in a struct open_how, c flags without an access mode,
// s string, l limit (soft and hard), t text with the length of the next argument, y type
// of a socket, a address of a Unix socket with the length of the next argument, r the
// descriptor in a message, p the path of the op, w the name of a word that tasks and the
// runner share, - not shown. The form of an op may contain {0:n}, argument 0 as a number,
// and words that are not arguments: {call}, {path}, {message}, {id}, {numbers}, {slots}.
func Call(p *plan.Plan, op *program.Op, note program.Note) string {
	name := p.Extras[note.Extra].Name
	if name == "" {
		name = OpName(op)
	}
	row := op.Kind.Row()
	switch {
	case row.Form != "":
		return fill(row.Form, func(word string) string { return opWord(p, op, note, name, word) })
	case row.Name != "":
		return name
	}
	known := program.CallRowOf(op.Nr)
	forms := strings.Split(known.Args, ",")
	call, command, ok := strings.Cut(strings.TrimSuffix(name, ")"), "(") // "fcntl(F_SETFL)"
	if known.Args == "" || ok && !known.OnFD {
		return name
	}
	if ok {
		name, forms[1] = call, command
	}
	var args []string
	for i, form := range forms {
		if arg := argument(p, op, note, i, form); arg != "" {
			args = append(args, arg)
		}
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// fill replaces the words in braces of a form.
func fill(form string, word func(string) string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(form, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		var name string
		name, form, _ = strings.Cut(rest, "}")
		b.WriteString(word(name))
	}
}

// opWord returns the text for a word in braces of an op's form.
func opWord(p *plan.Plan, op *program.Op, note program.Note, name, word string) string {
	switch word {
	case "call":
		return name
	case "path":
		return strconv.Quote(p.Extras[note.Extra].Path)
	case "id":
		return strconv.Itoa(p.MessageOf(op))
	case "message":
		if id := p.MessageOf(op); id >= 0 {
			return fmt.Sprintf("message %d", id)
		}
		return "shard"
	case "slots":
		var slots []string
		for _, s := range program.Int32sAt(p.Arena.Base, p.Arena.Data(), op.Args[1], int(op.Args[2])) {
			slots = append(slots, fmt.Sprintf("#%d", s))
		}
		return strings.Join(slots, " ")
	case "numbers":
		return numbersText(program.Int32sAt(p.Arena.Base, p.Arena.Data(), op.Args[3], int(op.Args[2])))
	}
	number, form, _ := strings.Cut(word, ":")
	i, err := strconv.Atoi(number)
	if err != nil {
		return "{" + word + "}"
	}
	switch v := op.Args[i]; form {
	case "u":
		return strconv.FormatUint(v, 10)
	case "o":
		return fmt.Sprintf("%#o", v)
	case "task":
		return strconv.Quote(p.Tree.Tasks()[v].Name)
	case "forks":
		return Count(int(v)-1, "task") // the last op is the end of the fork helper
	case "files":
		return Count(int(v), "file")
	}
	return argument(p, op, note, i, form)
}

// numbersText writes numbers, with long runs as ranges: "3 5 6 10-260".
func numbersText(numbers []int32) string {
	const long = 16
	var words []string
	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[0]+int32(n) {
			n++
		}
		if n >= long {
			words = append(words, fmt.Sprintf("%d-%d", numbers[0], numbers[n-1]))
			numbers = numbers[n:]
			continue
		}
		words = append(words, strconv.Itoa(int(numbers[0])))
		numbers = numbers[1:]
	}
	return strings.Join(words, " ")
}

// argument writes one argument of a call, see [Call].
func argument(p *plan.Plan, op *program.Op, note program.Note, i int, form string) string {
	v := op.Args[i]
	switch {
	case form == "-":
		return ""
	case form == "p":
		return strconv.Quote(p.Extras[note.Extra].Path)
	case form == "r":
		if fd := p.SentFD(op); fd >= 0 {
			return fmt.Sprintf("fd %d", fd)
		}
		return ""
	case op.Mode(i) == program.ModeSlot:
		return fmt.Sprintf("#%d", v)
	case op.Mode(i) == program.ModeLoad32:
		return fmt.Sprintf("pid of %q", p.Tree.Tasks()[(v-p.Arena.Record(0))/program.RecordSize].Name)
	case op.Mode(i) == program.ModeLoad && op.Nr == unix.SYS_DUP3:
		return "the store"
	case op.Mode(i) == program.ModeLoad:
		return "a result"
	case form == "n" && p.InArena(v):
		return "..."
	}
	switch form {
	case "n":
		return strconv.FormatInt(int64(v), 10)
	case "x":
		return fmt.Sprintf("%#x", v)
	case "o":
		return fmt.Sprintf("%#o", v)
	case "s":
		s, _ := program.StringAt(p.Arena.Base, p.Arena.Data(), v)
		return strconv.Quote(s)
	case "w":
		return wordName(p, op, v)
	case "f":
		return openFlags(v)
	case "h":
		return howText(p, v)
	case "c":
		return strings.TrimPrefix(strings.TrimPrefix(openFlags(v), "O_RDONLY"), "|")
	case "a":
		if address := program.At(p.Arena.Base, p.Arena.Data(), v, op.Args[i+1]); len(address) > 2 {
			name := strings.TrimRight(string(address[2:]), "\x00")
			return strconv.Quote(strings.Replace(name, "\x00", "@", 1))
		}
		return ""
	case "y":
		return map[uint64]string{unix.SOCK_STREAM: "SOCK_STREAM", unix.SOCK_DGRAM: "SOCK_DGRAM", unix.SOCK_SEQPACKET: "SOCK_SEQPACKET"}[v&0xf]
	case "t":
		const short = 40
		if text := program.At(p.Arena.Base, p.Arena.Data(), v, op.Args[i+1]); len(text) <= short {
			return strconv.Quote(string(text))
		}
		return ""
	case "l":
		if limit := program.WordsAt(p.Arena.Base, p.Arena.Data(), v, 2); limit != nil {
			return fmt.Sprintf("%d:%d", limit[0], limit[1])
		}
	}
	return form
}

// wordName names the content of an address of the arena: a field of program.Head or
// program.Record, a counter, or data of the call that follows.
func wordName(p *plan.Plan, op *program.Op, addr uint64) string {
	switch addr - p.Arena.Base {
	case program.HeadLeft:
		return "Left"
	case program.HeadStarted:
		return "Started"
	case program.HeadGate:
		return "Gate"
	}
	first := p.Arena.Record(0)
	if addr < first || addr >= p.Arena.Record(p.Processes()) {
		if op.Kind == program.OpStore {
			return "the next call's data"
		}
		return "a counter"
	}
	switch (addr - first) % program.RecordSize {
	case program.RecordHolds:
		return "Holds"
	case program.RecordBegun:
		return "Begun"
	}
	return "the record"
}

// howText writes a struct open_how.
func howText(p *plan.Plan, addr uint64) string {
	text := openFlags(p.HowFlags(addr))
	if !p.Host.OldOpen {
		text += ", RESOLVE_NO_MAGICLINKS"
	}
	return text
}

// openFlags writes flags of open(2) by name.
func openFlags(flags uint64) string {
	names := []string{[]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}[flags&unix.O_ACCMODE]}
	rest := flags &^ unix.O_ACCMODE
	for _, f := range []struct {
		bits uint64
		name string
	}{
		{unix.O_PATH, "O_PATH"},
		{unix.O_TMPFILE, "O_TMPFILE"},
		{unix.O_DIRECTORY, "O_DIRECTORY"},
		{unix.O_NOFOLLOW, "O_NOFOLLOW"},
		{unix.O_APPEND, "O_APPEND"},
		{unix.O_NONBLOCK, "O_NONBLOCK"},
		{unix.O_SYNC, "O_SYNC"},
		{unix.O_DSYNC, "O_DSYNC"},
		{unix.O_DIRECT, "O_DIRECT"},
		{unix.O_NOATIME, "O_NOATIME"},
		{unix.O_NOCTTY, "O_NOCTTY"},
		{unix.O_CLOEXEC, "O_CLOEXEC"},
	} {
		if f.bits != 0 && rest&f.bits == f.bits {
			names = append(names, f.name)
			rest &^= f.bits
		}
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return strings.Join(names, "|")
}

// CloneName returns the name of the call that makes tasks.
func CloneName(p *plan.Plan) string {
	if p.Host.OldClone {
		return "clone"
	}
	return "clone3"
}

// Count returns "1 task", "2 tasks".
func Count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// OpName returns the name of an op's system call, or of the op itself.
func OpName(op *program.Op) string {
	if op.Flags&program.FlagOldClone != 0 {
		return "clone"
	}
	if name := op.Kind.Row().Name; name != "" {
		return name
	}
	return program.CallRowOf(op.Nr).Name
}
