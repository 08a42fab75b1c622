package host

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/execcheck"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// programCheck looks at the programs of a tree before it is released: an exec that
// fails afterwards could not undo what the commit point has done to files.
//
//	run ─▶ path ─▶ #! ─▶ #! ... ─▶ ELF ─▶ its interpreter      each: there, regular, may be executed,
//	                                                          not written by the tree, of a known form
//	argv, env ─▶ sizes                                        of each string, and of all
//
// Each program is looked at once, however many tasks run it.
type programCheck struct {
	plan   *plan.Plan
	opener *safepath.Opener
	arch   execcheck.Arch
	stack  uint64                            // the soft RLIMIT_STACK
	fd     func(of plan.FileEnd) (int, bool) // the descriptor of an open file that this process has already

	looks   map[lookKey]*look
	lists   map[uint64]stringList // by address
	written map[inode]int         // files that the tree holds open for writing, by index; nil: not asked for yet
	misc    miscEntries
}

// lookKey is a program, and the folder at which a relative interpreter starts.
type lookKey struct{ path, folder string }

// look is what was found out about a program.
type look struct {
	errno   unix.Errno // that execve gives, 0: nothing speaks against it
	why     string
	scripts []scriptStrings // what the #! lines put among the arguments
}

// scriptStrings are the lengths of what one #! line adds to the arguments. The
// interpreter's name takes the place of the first.
type scriptStrings struct {
	path, name, arg int
	hasArg          bool
}

// inode tells files apart.
type inode struct{ dev, ino uint64 }

// stringList is what is known of an array of strings of the arena.
type stringList struct {
	lengths []int // without NUL
	bytes   int64 // all, with their NULs
	long    []int // those that are too long, by index
}

// NewProgramCheck makes one for all programs of a plan. fd gives the descriptor that this
// process has of an open file, if it has one.
func NewProgramCheck(p *plan.Plan, fd func(of plan.FileEnd) (int, bool)) *programCheck {
	c := &programCheck{
		plan: p, opener: safepath.New(p.Host.OldOpen), fd: fd, arch: execcheck.Native(os.Getpagesize()),
		looks: map[lookKey]*look{}, lists: map[uint64]stringList{},
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_STACK, &limit) == nil {
		c.stack = limit.Cur
	}
	return c
}

// Check looks at the program of each task, whose path the arena has, and gives what
// is wrong.
func (c *programCheck) Check(path func(cell uint64) (string, bool)) (wrong []error) {
	for i, task := range c.plan.Tree.Tasks() {
		if task.Holds() {
			continue
		}
		ops := c.plan.Tasks[i].Ops
		exec := &ops[len(ops)-1]
		found, ok := path(exec.Args[0])
		if !ok {
			continue // of a task that has failed
		}
		l := c.look(found, task)
		if l.errno != 0 {
			wrong = append(wrong, c.refusal(task, task.Run[0].Pos, found, l.why, l.errno))
		}
		wrong = append(wrong, c.sizes(task, exec, found, l)...)
	}
	return wrong
}

// refusal says why a task's program cannot be executed.
func (c *programCheck) refusal(task *tasktree.Task, pos tasktree.Pos, path, why string, errno unix.Errno) error {
	return &plan.ProgramError{OpError: &plan.OpError{
		Source: c.plan.Tree.Source, Pos: pos, Task: task.Name,
		What: "run", Call: fmt.Sprintf("execve %q", path), Reason: why, Err: errno,
	}}
}

// look looks at a program, once.
func (c *programCheck) look(path string, task *tasktree.Task) *look {
	key := lookKey{path, c.folder(task)}
	l, ok := c.looks[key]
	if !ok {
		l = &look{}
		c.follow(l, key)
		c.looks[key] = l
	}
	return l
}

// folder gives the folder that a task runs its program in, "" for this process's.
func (c *programCheck) folder(task *tasktree.Task) string {
	if task.Cwd.Value == "" {
		return ""
	}
	return c.plan.Tree.Join(task.Cwd.Value)
}

// follow goes from a program to its interpreter, to the interpreter's, and so on.
func (c *programCheck) follow(l *look, key lookKey) {
	var seen []opened
	defer func() {
		for _, o := range seen {
			o.close()
		}
	}()
	refuse := func(errno unix.Errno, why string) {
		if c.misc.mayTake(seen, c.arch) {
			return
		}
		l.errno, l.why = errno, why
	}
	path, script := key.path, true // whether it may itself be a script
	for depth := 0; ; depth++ {
		o, errno, why := c.open(path, key.folder, depth > 0)
		switch {
		case errno != 0 && len(seen) == 0:
			l.errno, l.why = errno, why // before any format is asked
			return
		case errno != 0:
			refuse(errno, interpreterOf(seen, path, why))
			return
		case o.fd < 0:
			return // only the kernel can tell
		}
		seen = append(seen, o)
		if depth > execcheck.MaxDepth && script {
			refuse(unix.ELOOP, fmt.Sprintf("more than %d scripts in a row, each the interpreter of the one before", execcheck.MaxDepth))
			return
		}
		v := execcheck.Verdict{}
		if script {
			v = execcheck.Program(o.head, o, c.arch)
		} else {
			v = execcheck.Loader(o, c.arch)
		}
		switch {
		case v.Err != 0 && depth == 0:
			refuse(v.Err, v.Why)
			return
		case v.Err != 0:
			refuse(v.Err, interpreterOf(seen[:depth], path, v.Why))
			return
		case v.Interpreter == "":
			return
		}
		if v.Script {
			l.scripts = append(l.scripts, scriptStrings{len(path), len(v.Interpreter), len(v.Arg), v.HasArg})
		}
		path, script = v.Interpreter, v.Script
	}
}

// interpreterOf says what is wrong with the interpreter of the file seen last.
func interpreterOf(seen []opened, path, why string) string {
	of := "its interpreter"
	if len(seen) > 1 {
		of = fmt.Sprintf("the interpreter of %q", seen[len(seen)-1].path)
	}
	return strings.TrimSuffix(fmt.Sprintf("%s %q: %s", of, path, why), ": ")
}

// sizes finds strings that are too long, and too many bytes in all.
func (c *programCheck) sizes(task *tasktree.Task, exec *program.Op, path string, l *look) (wrong []error) {
	argv, envp := c.list(exec.Args[1]), c.list(exec.Args[2])
	most := execcheck.MaxString(c.arch.Page)
	for _, i := range argv.long {
		wrong = append(wrong, c.refusal(task, task.Run[min(i, len(task.Run)-1)].Pos, path,
			fmt.Sprintf("argument %d has %d bytes with its NUL, and the kernel takes %d at most", i, argv.lengths[i]+1, most), unix.E2BIG))
	}
	for _, i := range envp.long {
		pos, what := c.variable(task, exec.Args[2], i)
		wrong = append(wrong, c.refusal(task, pos, path,
			fmt.Sprintf("%s has %d bytes with its name and NUL, and the kernel takes %d at most", what, envp.lengths[i]+1, most), unix.E2BIG))
	}
	if len(wrong) > 0 {
		return wrong
	}
	if over, total := c.over(argv, envp, path, l.scripts); over > 0 {
		wrong = append(wrong, c.refusal(task, task.Run[0].Pos, path, fmt.Sprintf(
			"its path, arguments and environment, with 8 bytes for each string, take %d bytes, and a quarter of RLIMIT_STACK, %d, is the limit; "+
				"raise it (ulimit -s), which helps up to 24 MiB, or pass less", total+over, total), unix.E2BIG))
	}
	return wrong
}

// over gives how many bytes the strings of an exec are over the limit, and the limit.
func (c *programCheck) over(argv, envp stringList, path string, scripts []scriptStrings) (over, total int64) {
	b := execcheck.NewBudget(c.stack, len(argv.lengths), len(envp.lengths))
	b.Add(len(path))
	b.Take(envp.bytes + argv.bytes)
	over = b.Over()
	first := argv.lengths[0]
	for _, s := range scripts {
		b.Drop(first)
		b.Add(s.path)
		if s.hasArg {
			b.Add(s.arg)
		}
		b.Add(s.name)
		first = s.name
		over = max(over, b.Over())
	}
	return over, b.Total
}

// variable gives the place of a variable that is too long, and what it is.
func (c *programCheck) variable(task *tasktree.Task, envp uint64, i int) (tasktree.Pos, string) {
	data, base := c.plan.Arena.Data(), c.plan.Arena.Base
	words := program.WordsAt(base, data, envp+uint64(8*i), 1)
	text, _ := program.StringAt(base, data, words[0])
	name, _, _ := strings.Cut(text, "=")
	for _, v := range task.Env {
		if v.Name == name {
			return v.Pos, fmt.Sprintf("the variable %q", name)
		}
	}
	return task.Run[0].Pos, fmt.Sprintf("the caller's variable %q (unset it, or say another value under env)", name)
}

// list reads an array of strings of the arena, once.
func (c *programCheck) list(addr uint64) stringList {
	if l, ok := c.lists[addr]; ok {
		return l
	}
	data, base := c.plan.Arena.Data(), c.plan.Arena.Base
	var l stringList
	for at := addr - base; ; at += 8 {
		word := binary.NativeEndian.Uint64(data[at:])
		if word == 0 {
			break
		}
		text, _ := program.StringAt(base, data, word)
		if len(text)+1 > execcheck.MaxString(c.arch.Page) {
			l.long = append(l.long, len(l.lengths))
		}
		l.lengths = append(l.lengths, len(text))
		l.bytes += int64(len(text)) + 1
	}
	c.lists[addr] = l
	return l
}
