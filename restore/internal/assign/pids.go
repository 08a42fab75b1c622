package assign

import (
	"regrow/tasktree"
)

// PIDs gives the pid that each task is made with, 0 if the kernel chooses.
//
// In a new pid namespace one exact pid makes all of them exact: a number that
// the kernel chose for one task could be the one that another needs.
func PIDs(t *tasktree.Tree) []int32 {
	pids := make([]int32, len(t.Tasks()))
	taken := map[int32]bool{}
	exact := false
	for i, task := range t.Tasks() {
		pids[i] = int32(task.PID.Value)
		taken[pids[i]] = true
		exact = exact || i > 0 && pids[i] != 0
	}
	if !t.HasNamespace(tasktree.NamespacePID) {
		return pids
	}
	pids[0] = 1
	taken[1] = true
	if !exact {
		return pids
	}
	next := int32(2)
	for i := range pids {
		for pids[i] == 0 {
			if !taken[next] {
				pids[i] = next
			}
			next++
		}
	}
	return pids
}
