package observe

import (
	"fmt"
	"os"
	"slices"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
)

// knownFiles are open files that this process holds, in the kernel's own order of
// them, so that another process's descriptor is found by halving.
type knownFiles struct {
	plan  *plan.Plan
	self  int
	files []knownFile
}

type knownFile struct {
	fd int
	plan.FileEnd
	same int // the same for descriptors of one open file
}

func newKnownFiles(v plan.View) (*knownFiles, error) {
	k := &knownFiles{plan: v.Plan, self: os.Getpid()}
	for fe, fd := range v.Made {
		k.files = append(k.files, knownFile{fd: fd, FileEnd: fe})
	}
	var failed error
	slices.SortFunc(k.files, func(a, b knownFile) int {
		order, err := proc.CompareFiles(k.self, k.self, a.fd, b.fd)
		if err != nil {
			failed = err
		}
		return proc.Order(order)
	})
	for i := 1; i < len(k.files) && failed == nil; i++ {
		order, err := proc.CompareFiles(k.self, k.self, k.files[i-1].fd, k.files[i].fd)
		failed = err
		k.files[i].same = k.files[i-1].same + min(order, 1)
	}
	if failed != nil {
		return nil, fmt.Errorf("restore: %w", failed)
	}
	return k, nil
}

// find tells which open file a descriptor of a process is, nothing if it is none
// of them. Among those that are one and the same, hint is preferred.
func (k *knownFiles) find(pid, n int, hint string) (plan.FileEnd, error) {
	var failed error
	i, ok := slices.BinarySearchFunc(k.files, n, func(f knownFile, n int) int {
		order, err := proc.CompareFiles(k.self, pid, f.fd, n)
		if err != nil {
			failed = err
		}
		return proc.Order(order)
	})
	if failed != nil {
		return plan.Nothing, fmt.Errorf("restore: %w", failed)
	}
	if !ok {
		return plan.Nothing, nil
	}
	for j := i; j < len(k.files) && k.files[j].same == k.files[i].same; j++ {
		if k.plan.EndName(k.files[j].FileEnd) == hint {
			return k.files[j].FileEnd, nil
		}
	}
	return k.files[i].FileEnd, nil
}
