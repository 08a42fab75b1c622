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

// MaxPlaces is the largest number of different places of all programs. Many folders in PATH
// for many programs would otherwise cost without bound.
const MaxPlaces = 500_000

// Places are the places at which a program may be. It is looked up once for all tasks.
type Places struct {
	Addr uint64 // of an array in the arena, with the address of each place
	N    int
	Cell uint64 // gets the address of the place that has the program
}

// Programs prepares the lookup of the programs of a plan's tasks. It puts data that tasks share
// into the arena once.
type Programs struct {
	plan       *plan.Plan
	envp       uint64 // environment of tasks that do not change it
	callersEnv []string
	known      map[string]Places // by program and folders
	count      int               // of places, see MaxPlaces
	folders    folders
}

// For returns a Programs for the tasks of a plan.
func For(p *plan.Plan) Programs { return Programs{plan: p} }

// Places returns the places of a task's program. Tasks with the same program and folders
// share them. The error is a [*plan.RefusedError].
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
				"task %q: its program %q is looked up in the folders of PATH, and all programs together have more than %d places "+
					"(write the path of the program, or shorten PATH)", task.Name, task.Run[0].Value, MaxPlaces)}
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

// Shown returns a task's program as messages show it.
func (l *Programs) Shown(task *tasktree.Task) string {
	name := task.Run[0].Value
	if strings.Contains(name, "/") && l.plan.Tree.Dir != "." {
		name = withoutDots(l.plan.Tree.Join(name))
	}
	return name
}

// Hints returns the reasons why a program is not found, and remedies. rights explains a refusal
// that comes from the tree's user namespace, if there is one.
func Hints(name string, rights []recipe.Hint) []recipe.Hint {
	missing := ""
	switch {
	case filepath.IsAbs(name):
	case strings.Contains(name, "/"):
		missing = "the relative path of a program starts at the folder of the description"
	case strings.Contains(name, " "):
		missing = "not in any folder of the task's PATH; write the program and each argument as separate items: [sleep, 10]"
	default:
		missing = "not in any folder of the task's PATH"
	}
	hints := append(rights, recipe.Hint{Errno: int(unix.EACCES), Text: "no right to execute it (chmod +x), or to enter its folder"})
	if missing != "" {
		hints = append(hints, recipe.Hint{Errno: int(unix.ENOENT), Text: missing})
	}
	return hints
}
