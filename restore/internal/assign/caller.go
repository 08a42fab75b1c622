package assign

import (
	"fmt"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// CallerFDs gives the caller's descriptors that a tree may ask for, by key. The error is
// a [*tasktree.InvalidError] if it asks for others.
func CallerFDs(p *plan.Plan) (map[string]int, error) {
	fds := map[string]int{"stdin": 0, "stdout": 1, "stderr": 2}
	keys := []string{"stdin", "stdout", "stderr"}
	for key, fd := range p.Options.Inherit {
		fds[key] = fd
		keys = append(keys, key)
	}
	var problems []tasktree.Problem
	for _, f := range p.Tree.Files {
		key := tasktree.CallerKey(f.Spec)
		if key == "" || !f.Needed {
			continue
		}
		path := "files." + f.Name + ".key"
		if _, ok := fds[key]; !ok {
			problems = append(problems, tasktree.Problem{Pos: f.Pos, Path: path, Msg: fmt.Sprintf(
				"no descriptor of the caller goes by %q%s; give one with --inherit-fd %s=N", key, tasktree.DidYouMean(key, keys), key)})
		}
		if fd, ok := fds[key]; ok && fd == 0 && p.Options.WithoutStdin {
			problems = append(problems, tasktree.Problem{Pos: f.Pos, Path: path, Msg: "stdin cannot be inherited: the description was read from it"})
		}
	}
	if len(problems) > 0 {
		return nil, &tasktree.InvalidError{Source: p.Tree.Source, Problems: tasktree.SortProblems(problems)}
	}
	return fds, nil
}
