package shrink

import (
	"slices"

	"regrow/tasktree"
)

// Tree returns a small tree, made of parts of t, for which still is true. It does not
// change t. If still(t) is false, it returns a copy of t.
//
// No single part of the result can be left out: not a task (its children go to its
// parent), a descriptor, a task's program, environment, folder, pid or another
// attribute, or a namespace; and no two open files of one kind can be merged. An open
// file is left out with its last descriptor. Descriptors keep their numbers, and all
// parts keep their positions.
//
// still is called with trees that have passed [tasktree.Tree.Check], one at a time. It
// may keep and change them. It must return the same result for equal trees.
//
// Preconditions: t has passed Check.
func Tree(t *tasktree.Tree, still func(*tasktree.Tree) bool) *tasktree.Tree {
	s := &shrinker{still: still, best: parts(t)}
	if _, ok := s.best.build(); !ok || !s.holds(s.best) {
		return s.result()
	}
	for size := -1; size != s.best.size(); {
		size = s.best.size()
		s.tasks()
		s.descriptors()
		s.files()
		s.attributes()
	}
	return s.result()
}

// shrinker looks for smaller trees; best is the smallest so far.
type shrinker struct {
	still func(*tasktree.Tree) bool
	best  tree
}

func (s *shrinker) result() *tasktree.Tree {
	t, _ := s.best.build()
	return t
}

func (s *shrinker) holds(c tree) bool {
	built, ok := c.build()
	return ok && s.still(built)
}

// try accepts a candidate if the condition is true for it.
func (s *shrinker) try(c tree) bool {
	if !s.holds(c) {
		return false
	}
	s.best = c
	return true
}

// tasks leaves out tasks, from the end: the end of a description more often depends on its
// beginning than the other way round.
func (s *shrinker) tasks() {
	leaveOut(func() int { return len(s.best.tasks) }, func(from, to int) bool {
		return to-from < len(s.best.tasks) && s.try(s.best.withoutTasks(from, to))
	})
}

// descriptors leaves out descriptors of all tasks.
func (s *shrinker) descriptors() {
	leaveOut(func() int { return s.best.descriptors() }, func(from, to int) bool {
		return s.try(s.best.withoutDescriptors(from, to))
	})
}

// attributes leaves out namespaces and attributes of tasks.
func (s *shrinker) attributes() {
	if len(s.best.head.Namespaces) > 0 {
		c := s.best
		c.head.Namespaces = nil
		s.try(c)
	}
	for i := range s.best.tasks {
		for _, plainer := range []func(*tasktree.Task){
			func(t *tasktree.Task) { t.Run, t.Env, t.EnvClear = nil, nil, false },
			func(t *tasktree.Task) { t.Env, t.EnvClear = nil, false },
			func(t *tasktree.Task) { t.Cwd = tasktree.Text{} },
			func(t *tasktree.Task) { t.PID = tasktree.Number{} },
			func(t *tasktree.Task) { t.SharesFiles = tasktree.Text{} },
		} {
			if c, smaller := s.best.withTask(i, plainer); smaller {
				s.try(c)
			}
		}
		for j := range slices.Backward(s.best.tasks[i].Attributes) {
			c, _ := s.best.withTask(i, func(t *tasktree.Task) { t.Attributes = slices.Delete(slices.Clone(t.Attributes), j, j+1) })
			s.try(c)
		}
		for j := range s.best.tasks[i].FDs {
			if s.best.tasks[i].FDs[j].Cloexec {
				c, _ := s.best.withTask(i, func(t *tasktree.Task) { t.FDs[j].Cloexec = false })
				s.try(c)
			}
		}
	}
}

// files makes the descriptors of one open file refer to another one of the same kind.
func (s *shrinker) files() {
	const most = 64 // the number of pairs is quadratic, and a larger tree is not small anyway
	used := s.best.used()
	if len(used) > most {
		return
	}
	for i := len(used) - 1; i > 0; i-- {
		for j := range i {
			if used[i].Spec.Kind() == used[j].Spec.Kind() && s.try(s.best.merged(used[i], used[j])) {
				break
			}
		}
	}
}

// leaveOut tries to leave out all n items, then halves, quarters and so on down to single
// items. without leaves out the items from ... to-1 and reports whether the condition stays
// true; n is then smaller.
func leaveOut(n func() int, without func(from, to int) bool) {
	for chunk := n(); chunk > 0; chunk /= 2 {
		for to := n(); to > 0; {
			from := max(0, to-chunk)
			without(from, to)
			to = from
		}
	}
}
