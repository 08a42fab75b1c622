package shrink

import (
	"slices"

	"regrow/tasktree"
)

// Tree gives a small tree of which still is true, made of parts of t: t itself
// is not changed, and if still(t) is false a copy of it is the answer.
//
// Nothing of the result can be left out alone: not a task (its children go to
// its parent), not a descriptor, not a task's program, environment, folder,
// pid or another attribute, not a namespace, and no two open files of one kind can be made one. An
// open file goes with its last descriptor. Descriptors keep their numbers, and
// everything its position in the description.
//
// still is called with trees that have passed [tasktree.Tree.Check], one at a
// time; it may keep and change them. It has to answer alike for like trees.
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

// try takes a candidate over if it will do.
func (s *shrinker) try(c tree) bool {
	if !s.holds(c) {
		return false
	}
	s.best = c
	return true
}

// tasks leaves out tasks, from the end: what comes late in a description is
// more often an addition to what comes early than the other way round.
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

// attributes leaves out what else is said of the tree and of its tasks.
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

// files lets the descriptors of one open file name another of the same kind.
func (s *shrinker) files() {
	const most = 64 // pairs grow by the square; beyond that a tree is not small anyway
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

// leaveOut tries to leave out all of n items, then halves, quarters and so on
// down to single ones. without leaves out the items from ... to-1 and reports
// whether that will do; n is then smaller.
func leaveOut(n func() int, without func(from, to int) bool) {
	for chunk := n(); chunk > 0; chunk /= 2 {
		for to := n(); to > 0; {
			from := max(0, to-chunk)
			without(from, to)
			to = from
		}
	}
}
