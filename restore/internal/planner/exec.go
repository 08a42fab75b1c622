package planner

import (
	"cmp"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// defaultPath is where programs are looked up if the environment has no PATH,
// as execvp(3) of glibc does.
const defaultPath = "/bin:/usr/bin"

// execve has what becoming a program takes: addresses in the arena.
type execve struct {
	cell uint64 // holds the path that was found
	envp uint64
}

// find plans how the program that a task becomes is looked up, which of the
// places in PATH has it. The answer goes into a cell. The runner does it before
// the first clone, unless the task has other rights: then it looks itself, while
// its folder is still the runner's.
func (tp *taskPlanner) find() (execve, error) {
	task, p := tp.task, tp.pl.plan
	envp, path := tp.pl.environment(task)
	places, err := tp.pl.places(task, path)
	if err != nil {
		return execve{}, err
	}
	run := execve{cell: places.cell, envp: envp}
	find := &writer{pl: tp.pl, prog: p.Prepare}
	if p.Tree.HasNamespace(tasktree.NamespaceUser) {
		find, p.TasksLook = &tp.writer, true
	}
	find.about(program.VerbFind, task.Run[0].Pos)
	find.add(program.OpFind, places.addr, uint64(places.n), run.cell, uint64(task.Index), tp.pl.how(unix.O_PATH|unix.O_CLOEXEC))
	shown := task.Run[0].Value
	if strings.Contains(shown, "/") && p.Tree.Dir != "." {
		shown = withoutDots(p.Tree.Join(shown))
	}
	find.note().Extra = tp.pl.extra(plan.Extra{Path: shown, Hints: tp.pl.findHints(task.Run[0].Value)})
	if find != &tp.writer {
		p.Prepare = find.prog
	}
	return run, nil
}

// findHints says why a program is not found, and what may be meant.
func (pl *planner) findHints(name string) []recipe.Hint {
	missing := ""
	switch {
	case filepath.IsAbs(name):
	case strings.Contains(name, "/"):
		missing = "a relative path of a program starts at the folder of the description"
	case strings.Contains(name, " "):
		missing = "in no folder of the task's PATH; write the program and each argument as elements of their own: [sleep, 10]"
	default:
		missing = "in no folder of the task's PATH"
	}
	hints := append(pl.rightsHint(), recipe.Hint{Errno: int(unix.EACCES), Text: "no right to execute it (chmod +x), or to enter its folder"})
	if missing != "" {
		hints = append(hints, recipe.Hint{Errno: int(unix.ENOENT), Text: missing})
	}
	return hints
}

// MaxPlaces bounds the places where programs are looked for, each counted once:
// many folders in PATH for many programs would cost without end.
const MaxPlaces = 500_000

// places are those where a program may be: an array of addresses in the arena, and a
// cell for the address of the one that has it. It is looked for once.
type places struct {
	addr uint64
	n    int
	cell uint64
}

// places gives the places of a task's program, the same for tasks that look for
// the same one in the same folders.
func (pl *planner) places(task *tasktree.Task, path string) (places, error) {
	p := pl.plan
	folders, key := pl.folders(path), task.Run[0].Value+"\x00"+path
	if pl.relativeFolders {
		key += "\x00" + task.Cwd.Value
	}
	found, known := pl.lookedUp[key]
	if known {
		return found, nil
	}
	addrs := make([]uint64, 0, len(folders))
	for c := range programs(p.Tree, p.Host.Cwd, task, folders) {
		if pl.placeCount++; pl.placeCount > MaxPlaces {
			return places{}, &plan.RefusedError{Source: p.Tree.Source, Pos: task.Run[0].Pos, Msg: fmt.Sprintf(
				"task %q: its program %q is looked for in the folders of PATH, and those of all programs are more than %d places "+
					"(write the program with its path, or fewer folders)", task.Name, task.Run[0].Value, MaxPlaces)}
		}
		addrs = append(addrs, p.Arena.Once(c))
	}
	found = places{p.Arena.Words(addrs), len(addrs), p.Arena.Cell()}
	if pl.lookedUp == nil {
		pl.lookedUp = map[string]places{}
	}
	pl.lookedUp[key] = found
	return found, nil
}

// exec plans that a task becomes its program.
func (tp *taskPlanner) exec(run execve) {
	a, task := tp.pl.plan.Arena, tp.task
	argv := make([]string, len(task.Run))
	for i, arg := range task.Run {
		argv[i] = arg.Value
	}
	tp.about(program.VerbExec, task.Run[0].Pos)
	op := tp.call(unix.SYS_EXECVE, run.cell, a.Strings(argv), run.envp)
	op.SetMode(0, program.ModeLoad)
	tp.note().Extra = tp.pl.extra(plan.Extra{Path: argv[0], Hints: []recipe.Hint{
		{Errno: int(unix.ENOEXEC), Text: "neither a binary for this machine nor a script with a #! line"},
		{Errno: int(unix.E2BIG), Text: "arguments and environment together are too long"},
		{Errno: int(unix.ENOENT), Text: "the program or its interpreter does not exist"},
	}})
}

// folders gives the folders of a PATH, each once: what was not there is not there.
// Most tasks have the same PATH, so the last answer is kept, and whether one of them
// depends on the task's folder.
func (pl *planner) folders(path string) []string {
	if pl.foldersOf != path || pl.lastFolders == nil {
		pl.foldersOf, pl.lastFolders, pl.relativeFolders = path, nil, false
		seen := map[string]bool{}
		for dir := range strings.SplitSeq(path, ":") {
			if !seen[dir] {
				seen[dir] = true
				pl.lastFolders = append(pl.lastFolders, dir)
				pl.relativeFolders = pl.relativeFolders || !filepath.IsAbs(dir)
			}
		}
	}
	return pl.lastFolders
}

// programs goes through the paths where a task's program may be, in the order in
// which they are tried, each with a NUL behind it and there until the next. They are
// absolute where that is possible, because the task has changed its folder by then.
func programs(t *tasktree.Tree, cwd string, task *tasktree.Task, folders []string) iter.Seq[[]byte] {
	absolute := func(p string) string {
		if !filepath.IsAbs(p) && cwd != "" {
			p = strings.TrimSuffix(cwd, "/") + "/" + p
		}
		return withoutDots(p)
	}
	name := task.Run[0].Value
	if strings.Contains(name, "/") {
		return func(yield func([]byte) bool) { yield([]byte(absolute(t.Join(name)) + "\x00")) }
	}
	folder := absolute(".")
	if task.Cwd.Value != "" {
		folder = strings.TrimRight(absolute(t.Join(task.Cwd.Value)), "/")
	}
	return func(yield func([]byte) bool) {
		var path []byte
		for _, dir := range folders {
			path = path[:0]
			if !filepath.IsAbs(dir) {
				dir = cmp.Or(dir, ".") // an empty one means the task's own
				dir = strings.TrimSuffix(withoutDots(folder+"/"+dir+"/"), "/")
			}
			path = append(append(path, dir...), '/')
			if path = append(append(path, name...), 0); !yield(path) {
				return
			}
		}
	}
}

// withoutDots leaves out of a path what means nothing: "/x/./y" is /x/y, which a
// script sees as its name. A dot at the end stays, and so does "..", which means
// to the kernel the folder above what a link leads to.
func withoutDots(path string) string {
	for strings.Contains(path, "/./") {
		path = strings.ReplaceAll(path, "/./", "/")
	}
	return path
}

// environment gives the address of a task's environment, and the PATH in it.
func (pl *planner) environment(task *tasktree.Task) (envp uint64, path string) {
	base := pl.callersEnvironment()
	if task.EnvClear {
		base = nil
	}
	if len(task.Env) == 0 {
		if task.EnvClear {
			return pl.plan.Arena.Strings(nil), defaultPath
		}
		if pl.envp == 0 {
			pl.envp = pl.plan.Arena.Strings(base)
		}
		return pl.envp, pathOf(base)
	}
	later := make(map[string]string, len(task.Env))
	for _, v := range task.Env {
		later[v.Name] = v.Value
	}
	env := make([]string, 0, len(base)+len(task.Env))
	for _, kv := range base {
		name, _, _ := strings.Cut(kv, "=")
		if _, replaced := later[name]; !replaced {
			env = append(env, kv)
		}
	}
	for _, v := range task.Env {
		if value, ok := later[v.Name]; ok {
			env = append(env, v.Name+"="+value)
			delete(later, v.Name)
		}
	}
	return pl.plan.Arena.Strings(env), pathOf(env)
}

// activation are the variables of sd_listen_fds(3). They tell the process that was
// started with them, regrow, which of its descriptors are listening sockets; a
// task has others at these numbers.
var activation = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}

// callersEnvironment gives what of the caller's environment is for the tree.
func (pl *planner) callersEnvironment() []string {
	if pl.callersEnv == nil {
		pl.callersEnv = slices.DeleteFunc(slices.Clone(pl.plan.Host.Environ), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return slices.Contains(activation, name)
		})
	}
	return pl.callersEnv
}

func pathOf(env []string) string {
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			return path
		}
	}
	return defaultPath
}
