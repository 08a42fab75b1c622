package words

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// argText has how the arguments of a call are shown: n number, f flags of
// open(2), h those in a struct open_how, c such flags without an access mode, s string, l limit (soft and
// hard), t text that is as long as the next argument says, - not at all. Anything else is shown as it is in place of the argument.
var argText = map[uint32]string{
	unix.SYS_OPENAT: "-,s,f", unix.SYS_OPENAT2: "-,s,h", unix.SYS_DUP3: "n,n,c", unix.SYS_CLOSE: "n", unix.SYS_CLOSE_RANGE: "n,n",
	unix.SYS_FCNTL: "n,n,n", unix.SYS_LSEEK: "n,n,n", unix.SYS_CHDIR: "s", unix.SYS_PRCTL: "PR_SET_NAME,s",
	unix.SYS_PIPE2: "-,c", unix.SYS_RT_SIGACTION: "n,SIG_DFL", unix.SYS_WRITE: "n,t,n",
	unix.SYS_PRLIMIT64: "-,RLIMIT_NOFILE,l", unix.SYS_SIGALTSTACK: "SS_DISABLE",
	unix.SYS_SOCKETPAIR: "AF_UNIX,SOCK_SEQPACKET", unix.SYS_SETSOCKOPT: "n,SO_RCVTIMEO", unix.SYS_UNSHARE: "CLONE_FILES", unix.SYS_RT_SIGPROCMASK: "SIG_SETMASK,none",
}

// Call writes the call of an op with its arguments.
func Call(p *plan.Plan, op *program.Op, note program.Note) string {
	name := p.Extras[note.Extra].Name
	if name == "" {
		name = OpName(op)
	}
	str := func(i int) string {
		s, _ := program.StringAt(p.Arena.Base, p.Arena.Data(), op.Args[i])
		return strconv.Quote(s)
	}
	switch op.Kind {
	case program.OpPull:
		numbers := program.Int32sAt(p.Arena.Base, p.Arena.Data(), op.Args[3], int(op.Args[2]))
		what := "shard"
		if id := p.MessageOf(op); id >= 0 {
			what = fmt.Sprintf("message %d", id)
		}
		return fmt.Sprintf("pull(%d, %s) -> %s", op.Args[0], what, NumbersText(numbers))
	case program.OpTake:
		numbers := program.Int32sAt(p.Arena.Base, p.Arena.Data(), op.Args[3], 1)
		return fmt.Sprintf("pop(%d, %d) -> %d", op.Args[0], p.MessageOf(op), numbers[0])
	case program.OpFork:
		return fmt.Sprintf("%s -> task %q", CloneName(p), p.Tree.Tasks()[op.Args[1]].Name)
	case program.OpHelp:
		return fmt.Sprintf("%s -> a helper, which forks %s", CloneName(p), Count(int(op.Args[2])-1, "task"))
	case program.OpCreate:
		return fmt.Sprintf("openat(%s, %s|O_CREAT, %#o)", str(0), openFlags(op.Args[1]), op.Args[2])
	case program.OpAdd:
		return fmt.Sprintf("sendmsg(message %d, %s)", op.Args[2], Count(int(op.Args[1]), "file"))
	case program.OpReopen:
		return fmt.Sprintf("openat(\"/proc/self/fd/#%d\", %s)", op.Args[0], openFlags(op.Args[1]))
	case program.OpCaller:
		return fmt.Sprintf("fcntl(%d, F_GETFD)", op.Args[0])
	case program.OpRefuse, program.OpTruncate:
		if op.Mode(0) == program.ModeSlot {
			return fmt.Sprintf("%s(#%d)", name, op.Args[0])
		}
		return fmt.Sprintf("%s(%d)", name, op.Args[0])
	case program.OpReopenAt:
		return fmt.Sprintf("openat2(%s, %s)", str(0), howText(p, op.Args[1]))
	case program.OpWay:
		return fmt.Sprintf("check folder %q", p.Extras[note.Extra].Path)
	case program.OpFind:
		return fmt.Sprintf("find program %q", p.Extras[note.Extra].Path)
	default: // a call with arguments
	}
	if op.Nr == unix.SYS_SENDMSG {
		if fd := p.SentFD(op); fd >= 0 {
			return fmt.Sprintf("sendmsg(%d, fd %d)", op.Args[0], fd)
		}
		return fmt.Sprintf("sendmsg(%d)", op.Args[0])
	}
	if op.Nr == unix.SYS_EXECVE {
		return fmt.Sprintf("execve(%q)", p.Extras[note.Extra].Path)
	}
	form, known := argText[op.Nr]
	if op.Kind != program.OpCall && op.Kind != program.OpPair || !known {
		return name
	}
	forms := strings.Split(form, ",")
	if call, command, ok := strings.Cut(strings.TrimSuffix(name, ")"), "("); ok { // "fcntl(F_SETFL)"
		name, forms[1] = call, command
	}
	var args []string
	for i, form := range forms {
		if arg := argument(p, op, i, form); arg != "" {
			args = append(args, arg)
		}
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// NumbersText shows numbers, long runs by their ends: "3 5 6 10-260".
func NumbersText(numbers []int32) string {
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

// argument shows one argument of a call, see argText.
func argument(p *plan.Plan, op *program.Op, i int, form string) string {
	v := op.Args[i]
	switch {
	case form == "-":
		return ""
	case op.Mode(i) == program.ModeSlot:
		return fmt.Sprintf("#%d", v)
	case op.Mode(i) == program.ModeLoad:
		return "the store"
	}
	switch form {
	case "n":
		return strconv.FormatInt(int64(v), 10)
	case "s":
		s, _ := program.StringAt(p.Arena.Base, p.Arena.Data(), v)
		return strconv.Quote(s)
	case "f":
		return openFlags(v)
	case "h":
		return howText(p, v)
	case "c":
		return strings.TrimPrefix(strings.TrimPrefix(openFlags(v), "O_RDONLY"), "|")
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

// howText shows a struct open_how.
func howText(p *plan.Plan, addr uint64) string {
	text := openFlags(p.HowFlags(addr))
	if !p.Host.OldOpen {
		text += ", RESOLVE_NO_MAGICLINKS"
	}
	return text
}

// openFlags shows flags of open(2) by name.
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

// CloneName names the call that makes tasks.
func CloneName(p *plan.Plan) string {
	if p.Host.OldClone {
		return "clone"
	}
	return "clone3"
}

// Count gives "1 task", "2 tasks".
func Count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
