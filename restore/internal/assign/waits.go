package assign

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// Point is where a task is: about to do its steps of a stage, or done with them.
type Point struct {
	Task  int // index of the task
	Stage recipe.Stage
}

// Wait says that a task waits before a stage until another one has done a stage.
type Wait struct {
	Before, Until Point
	Pos           tasktree.Pos // that asks for it
}

// Counters is who waits for whom, by counters in the arena. A counter is of one set of
// tasks: it begins with their number, each takes one off when it is done, and whoever
// waits for just these waits until it is zero.
type Counters struct {
	Await map[Point][]uint64 // counters that are awaited before the steps of a stage
	Pass  map[Point][]uint64 // counters that one is taken off after them
	Pos   map[uint64]tasktree.Pos
}

// CountersOf gives each wait its counter. leaves reports whether a task ends by plan,
// before the gate. The error is a [*tasktree.InvalidError] if tasks would wait for one
// another in a circle, or for what a task that ends does not do.
func CountersOf(p *plan.Plan, waits []Wait, leaves func(task int) bool) (Counters, error) {
	c := Counters{Await: map[Point][]uint64{}, Pass: map[Point][]uint64{}, Pos: map[uint64]tasktree.Pos{}}
	if len(waits) == 0 {
		return c, nil
	}
	for _, w := range waits {
		if w.Until.Stage > recipe.Stops && leaves(w.Until.Task) {
			return c, &tasktree.InvalidError{Source: p.Tree.Source, Problems: []tasktree.Problem{{
				Pos: w.Pos, Msg: fmt.Sprintf("task %q waits for %q, which has ended by then", p.Tree.Tasks()[w.Before.Task].Name, p.Tree.Tasks()[w.Until.Task].Name),
			}}}
		}
	}
	if err := circle(p.Tree, waits); err != nil {
		return c, err
	}
	until := map[Point][]Point{} // by who waits
	pos := map[Point]tasktree.Pos{}
	for _, w := range waits {
		if !slices.Contains(until[w.Before], w.Until) {
			until[w.Before] = append(until[w.Before], w.Until)
			pos[w.Before] = w.Pos
		}
	}
	bySet := map[string]uint64{}
	for _, before := range sortedPoints(until) {
		set := until[before]
		slices.SortFunc(set, Point.compare)
		key := fmt.Sprint(set)
		at, known := bySet[key]
		if !known {
			at = p.Arena.Cell()
			binary.NativeEndian.PutUint64(program.At(p.Arena.Base, p.Arena.Data(), at, 8), uint64(len(set)))
			bySet[key], c.Pos[at] = at, pos[before]
			for _, point := range set {
				c.Pass[point] = append(c.Pass[point], at)
			}
		}
		c.Await[before] = append(c.Await[before], at)
	}
	return c, nil
}

func (a Point) compare(b Point) int {
	if a.Task != b.Task {
		return a.Task - b.Task
	}
	return int(a.Stage) - int(b.Stage)
}

func sortedPoints[T any](m map[Point]T) []Point {
	points := make([]Point, 0, len(m))
	for p := range m {
		points = append(points, p)
	}
	slices.SortFunc(points, Point.compare)
	return points
}

// circle finds tasks that would wait for one another for ever. A stage comes after the
// one before it, the first stage of a task after the parent's stage Session, what
// the owner of a shared table fills after those who have it too have forked, and what is
// behind the gate after all that is before it, of any task.
func circle(tree *tasktree.Tree, waits []Wait) error {
	byBefore := map[Point][]Wait{}
	for _, w := range waits {
		byBefore[w.Before] = append(byBefore[w.Before], w)
	}
	const done = -1
	state := map[Point]int{} // how many waits led to a point that is being visited, and one
	var way []Wait
	var visit func(Point) []Wait
	visit = func(at Point) []Wait {
		switch before := state[at]; {
		case before == done:
			return nil
		case before > 0:
			return slices.Clone(way[before-1:])
		}
		state[at] = len(way) + 1
		defer func() { state[at] = done }()
		for _, w := range byBefore[at] {
			way = append(way, w)
			if found := visit(w.Until); found != nil {
				return found
			}
			way = way[:len(way)-1]
		}
		for _, before := range comesAfter(tree, at) {
			if found := visit(before); found != nil {
				return found
			}
		}
		return nil
	}
	for _, w := range waits {
		found := visit(w.Before)
		if found == nil {
			continue
		}
		var names []string
		for _, w := range found {
			names = append(names, fmt.Sprintf("%q (%v)", tree.Tasks()[w.Before.Task].Name, w.Pos))
		}
		return &tasktree.InvalidError{Source: tree.Source, Problems: []tasktree.Problem{{
			Pos: found[0].Pos, Msg: fmt.Sprintf("tasks wait for one another: %s -> %q", strings.Join(names, " -> "), tree.Tasks()[found[0].Before.Task].Name),
		}}}
	}
	return nil
}

// comesAfter gives what a point comes after without being told to.
func comesAfter(tree *tasktree.Tree, at Point) (before []Point) {
	task := tree.Tasks()[at.Task]
	switch {
	case at.Stage > 0:
		before = append(before, Point{at.Task, at.Stage - 1})
	case task.Parent != nil:
		before = append(before, Point{task.Parent.Index, recipe.Session})
	}
	for i, other := range tree.Tasks() {
		if at.Stage == recipe.Last {
			before = append(before, Point{i, recipe.Stops})
		}
		if at.Stage == recipe.Wired && other != task && tablesOf(other)[task] {
			before = append(before, Point{i, recipe.Groups})
		}
	}
	return before
}
