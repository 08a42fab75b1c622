package assign

import (
	"path/filepath"

	"regrow/restore/internal/landing"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

// Stored decides which open files the runner makes and puts in the store: the shared ones;
// those that a task has so often that pulling them again is cheaper than dup3 (none with
// ends: as long as regrow has an end, the other end does not learn that the task has closed
// it); those that only the runner can make; all files of one path if one of them creates
// it, since then their order counts; and all of them if the tasks have other rights. The
// result is by file index.
func Stored(p *plan.Plan) []bool {
	t := p.Tree
	stored := make([]bool, len(t.Files))
	byPath := map[string][]int{}
	creates := map[string]bool{}
	for i, f := range t.Files {
		if !f.Needed {
			continue
		}
		traits := f.Spec.Traits(t)
		// Opened in a user namespace, a file would be opened with other rights.
		stored[i] = traits.ByRunner || f.Shared() || len(f.Refers) > 0 || f.Named || t.HasNamespace(tasktree.NamespaceUser) || p.Options.Strategy == plan.StrategyInherit ||
			Repeats(p.Options) && len(f.Uses) >= landing.FewRepeated && len(f.Spec.Ends()) == 0
		if traits.Path != "" {
			clean := traits.Path
			if !filepath.IsAbs(clean) {
				clean = p.Host.Cwd + "/" + clean
			}
			clean = filepath.Clean(clean)
			byPath[clean] = append(byPath[clean], i)
			creates[clean] = creates[clean] || traits.Creates
		}
	}
	for path := range creates {
		if !creates[path] {
			continue
		}
		for _, i := range byPath[path] {
			stored[i] = true
		}
	}
	return stored
}

// Repeats reports whether messages may bring an open file more than once: the
// kernel installs what a message brings for a third of what a dup3 costs.
func Repeats(o plan.Options) bool {
	return o.Strategy == plan.StrategyFDStore && !o.Naive && !o.Once
}
