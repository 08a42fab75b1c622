package kind

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Signalfd is an open file that signals are read from, see signalfd(2): those that are
// pending for whoever reads, and blocked there. Which ones wait belongs to tasks.
type Signalfd struct {
	Signals Flags // bit N-1 for signal N
	Flags   Flags // O_NONBLOCK; O_APPEND and O_NOATIME without a meaning
}

var signalfdFlags = flagTable(refusals{
	access: "a signalfd is always open for reading and writing; leave the access mode out",
	async:  "a signalfd sends no signals; watch it by an epoll",
	direct: "a signalfd moves no blocks; drop it",
	others: "it is for a path, and a signalfd has none; drop it",
	own: map[string]string{
		"SFD_CLOEXEC":  refuseCloexec,
		"SFD_NONBLOCK": "write O_NONBLOCK",
	},
})

// signalNames are those of signals 1 to 31, see signal(7).
var signalNames = [...]string{
	"SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM",
	"SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
}

// signals are all signals of Linux. The C library keeps 32 and 33 for itself, so its
// first one, which programs call SIGRTMIN, is 34.
var signals = func() (table []Flag) {
	const first, last, ofLibrary = 34, 64, 32
	name := func(n int) string {
		switch {
		case n < ofLibrary:
			return signalNames[n-1]
		case n < first:
			return "SIG" + strconv.Itoa(n)
		case n == first:
			return "SIGRTMIN"
		case n == last:
			return "SIGRTMAX"
		}
		return "SIGRTMIN+" + strconv.Itoa(n-first)
	}
	for n := 1; n <= last; n++ {
		f := Flag{Name: name(n), Bits: 1 << (n - 1)}
		if n == int(unix.SIGKILL) || n == int(unix.SIGSTOP) {
			f = Flag{Name: f.Name, Refuse: "nobody can block it, so it never waits to be read; drop it"}
		}
		table = append(table, f)
	}
	for _, also := range [][2]string{{"SIGCLD", "SIGCHLD"}, {"SIGIOT", "SIGABRT"}, {"SIGPOLL", "SIGIO"}} {
		table = append(table, Flag{Name: also[0], Refuse: "write " + also[1]})
	}
	for _, name := range signalNames {
		table = append(table, Flag{Name: strings.TrimPrefix(name, "SIG"), Refuse: "write " + name})
	}
	return table
}()

func init() {
	register(Kind{
		Name: "signalfd",
		Also: []string{"signal", "signals", "signalfd4", "sigfd"},
		New:  func() tasktree.Spec { return &Signalfd{} },
		Is:   func(e LiveEnd) bool { return e.Link() == "anon_inode:[signalfd]" },
		Doc: "An open file that signals are read from, see signalfd(2): whoever reads it gets those that are blocked and pending for itself, so which ones wait is a matter of tasks. " +
			"Signals have the names of signal(7), those for real time `SIGRTMIN`, `SIGRTMIN+1` to `SIGRTMIN+29` and `SIGRTMAX` as in the C library, which keeps `SIG32` and `SIG33` for itself. " +
			"It has no owner and no mode: all such files of the machine share one inode.",
		Example: "sigs: {type: signalfd, signals: [SIGUSR1, SIGTERM, SIGRTMIN+2], flags: [O_NONBLOCK]}\n",
	})
}

// Fields implements [schema.Fielder].
func (s *Signalfd) Fields(f schema.Fields) {
	f.Flags("signals", &s.Signals, signals, schema.Help{
		Required: true, Item: "signal", Doc: "list of the signals that can be read; none may be in it",
	})
	f.Flags("flags", &s.Flags, signalfdFlags, schema.Help{Doc: "list of `O_NONBLOCK`, `O_APPEND`, `O_NOATIME`", Default: "none"})
}

// Kind implements [tasktree.Spec].
func (*Signalfd) Kind() string { return "signalfd" }

// Ends implements [tasktree.Spec].
func (*Signalfd) Ends() []string { return nil }

// Check implements [tasktree.Spec].
func (s *Signalfd) Check(_ *tasktree.Tree, report func(tasktree.Problem)) {
	const never = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
	if got := s.Signals.Bits & never; got != 0 { // a program's: a description is refused before
		report(tasktree.Problem{Pos: s.Signals.Pos, Path: "signals", Msg: fmt.Sprintf("nobody can block SIGKILL and SIGSTOP (the mask is %#x); drop them", uint64(s.Signals.Bits))})
	}
}

// Traits implements [tasktree.Spec].
func (*Signalfd) Traits(*tasktree.Tree) tasktree.Traits { return tasktree.Traits{} }

// Make implements [tasktree.Spec].
func (s *Signalfd) Make(_ *tasktree.Tree, m recipe.Maker) []recipe.Ref {
	const newFile, maskSize = -1, 8
	return []recipe.Ref{m.FD(recipe.Call{
		Name: "signalfd4", Nr: unix.SYS_SIGNALFD4,
		Args: []recipe.Arg{
			recipe.Int(newFile), recipe.Data(binary.NativeEndian.AppendUint64(nil, uint64(s.Signals.Bits))), recipe.Int(maskSize),
			recipe.Int(int64(unix.SFD_CLOEXEC | s.Flags.Bits&unix.O_NONBLOCK)),
		},
	})}
}

// Shape implements [tasktree.Shaped].
func (s *Signalfd) Shape(_ *tasktree.Tree, m recipe.Maker) {
	setFlags(m, m.Own(0), s.Flags, s.Flags.Bits&unix.O_NONBLOCK)
}

// End implements [Readable].
func (*Signalfd) End(LiveEnd) int { return 0 }

// Hint implements [Readable].
func (*Signalfd) Hint() string { return "signalfd" }

// Made implements [Readable].
func (s *Signalfd) Made(*tasktree.Tree) tasktree.Spec {
	return &Signalfd{Signals: madeFlags(s.Signals), Flags: madeFlags(s.Flags)}
}

// Read implements [Readable].
func (s *Signalfd) Read(l Live) []Unseen {
	end := l.Ends()[0]
	s.Flags = visible(signalfdFlags, end.Flags())
	const hex = 16
	mask, err := strconv.ParseUint(end.Info("sigmask"), hex, 64)
	if err != nil {
		return []Unseen{{Key: "signals", Why: "the kernel shows no sigmask in /proc/PID/fdinfo"}}
	}
	s.Signals = Flags{Bits: int(mask), Set: true}
	return nil
}
