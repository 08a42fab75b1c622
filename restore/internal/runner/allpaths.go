package runner

import (
	"context"
	"errors"
	"slices"
	"time"

	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
)

// withAllPaths adds to an error about a path all other problems of paths, folders and
// programs, so that they can be fixed at once. It is called when nothing of the restore is
// left, and waits only briefly: a path may lead to a dead file server.
func withAllPaths(ctx context.Context, p *plan.Plan, err error) error {
	const patience = 2 * time.Second
	if !aboutPaths(err) || ctx.Err() != nil {
		return err
	}
	looked := make(chan []error, 1)
	go func() { looked <- host.PathFaults(p) }()
	select {
	case found := <-looked:
		return joinPaths(err, found)
	case <-ctx.Done():
	case <-time.After(patience):
	}
	return err
}

// aboutPaths reports whether an error is about a path, a folder or a program.
func aboutPaths(err error) bool {
	_, several := errors.AsType[*plan.PathsError](err)
	_, program := errors.AsType[*plan.ProgramError](err)
	op, ok := errors.AsType[*plan.OpError](err)
	return several || program || ok && op.AboutPath
}

// joinPaths joins an error about paths with the other problems found.
func joinPaths(err error, found []error) error {
	all := []error{err}
	if paths, ok := errors.AsType[*plan.PathsError](err); ok {
		all = slices.Clone(paths.Errs)
	}
	seen := map[string]bool{}
	for _, err := range all {
		seen[host.KeyOf(err)] = true
	}
	for _, err := range found {
		if !seen[host.KeyOf(err)] {
			all = append(all, err)
		}
	}
	if len(all) == 1 {
		return err
	}
	return plan.JoinPaths(all)
}
