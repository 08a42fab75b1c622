package lookup

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// MaxPlaces bounds the places where programs are looked for, each counted once:
// many folders in PATH for many programs would cost without end.
const MaxPlaces = 500_000

// Places are those where a program may be. It is looked for once.
type Places struct {
	Addr uint64 // of an array of addresses in the arena, one of each place
	N    int
	Cell uint64 // for the address of the place that has the program
}

// Programs looks for the programs of a plan's tasks. What tasks have in common, it puts
// into the arena once.
type Programs struct {
	plan       *plan.Plan
	envp       uint64 // for tasks that add nothing to it
	callersEnv []string
	known      map[string]Places // by program and folders
	count      int               // see MaxPlaces
	folders    folders
}

// For makes the Programs of a plan's tasks.
func For(p *plan.Plan) Programs { return Programs{plan: p} }

// Places gives the places of a task's program, the same for tasks that look for
// the same one in the same folders. The error is a [*plan.RefusedError].
func (l *Programs) Places(task *tasktree.Task, path string) (Places, error) {
	p := l.plan
	folders, key := l.folders.of(path), task.Run[0].Value+"\x00"+path
	if l.folders.relative {
		key += "\x00" + task.Cwd.Value
	}
	found, known := l.known[key]
	if known {
		return found, nil
	}
	addrs := make([]uint64, 0, len(folders))
	for c := range paths(p.Tree, p.Host.Cwd, task, folders) {
		if l.count++; l.count > MaxPlaces {
			return Places{}, &plan.RefusedError{Source: p.Tree.Source, Pos: task.Run[0].Pos, Msg: fmt.Sprintf(
				"task %q: its program %q is looked for in the folders of PATH, and those of all programs are more than %d places "+
					"(write the program with its path, or fewer folders)", task.Name, task.Run[0].Value, MaxPlaces)}
		}
		addrs = append(addrs, p.Arena.Once(c))
	}
	found = Places{p.Arena.Words(addrs), len(addrs), p.Arena.Cell()}
	if l.known == nil {
		l.known = map[string]Places{}
	}
	l.known[key] = found
	return found, nil
}

// Shown gives a task's program as messages name it.
func (l *Programs) Shown(task *tasktree.Task) string {
	name := task.Run[0].Value
	if strings.Contains(name, "/") && l.plan.Tree.Dir != "." {
		name = withoutDots(l.plan.Tree.Join(name))
	}
	return name
}

// Hints says why a program is not found, and what may be meant. rights explains a
// refusal that comes from the tree's user namespace, if there is one.
func Hints(name string, rights []recipe.Hint) []recipe.Hint {
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
	hints := append(rights, recipe.Hint{Errno: int(unix.EACCES), Text: "no right to execute it (chmod +x), or to enter its folder"})
	if missing != "" {
		hints = append(hints, recipe.Hint{Errno: int(unix.ENOENT), Text: missing})
	}
	return hints
}
