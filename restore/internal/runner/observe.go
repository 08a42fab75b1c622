package runner

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/words"
)

// Observe is [Observe] below the face.
func Observe(ctx context.Context, p *plan.Plan, o Options, by Joined, hints []plan.Outcome) (*plan.Observation, error) {
	if err := kcmpWorks(); err != nil {
		return nil, noKcmp(p, err)
	}
	var seen *plan.Observation
	o.observe = func(r *run) error {
		var err error
		seen, err = r.look(hints)
		return noKcmp(p, err)
	}
	if _, err := Start(ctx, p, o, by); err != nil {
		return nil, err
	}
	return seen, nil
}

// Rehearse is [Rehearse] below the face.
func Rehearse(ctx context.Context, p *plan.Plan, o Options, by Joined, during func() error) error {
	o.observe = func(*run) error {
		// Other restores need another thread than this one, which owns the gate.
		starting.Unlock()
		defer starting.Lock()
		done := make(chan error, 1)
		go func() { done <- during() }()
		return <-done
	}
	_, err := Start(ctx, p, o, by)
	return err
}

// look reads every table. hints may be nil.
func (r *run) look(hints []plan.Outcome) (*plan.Observation, error) {
	known, err := r.knownFiles()
	if err != nil {
		return nil, err
	}
	rep := r.report()
	seen := &plan.Observation{}
	pids := make([]int, len(rep.Tasks))
	for i, t := range rep.Tasks {
		pids[i] = t.HostPID
	}
	owners, err := sharedTables(r.plan.Tree.Tasks(), pids)
	if err != nil {
		return nil, err
	}
	names := &privateNames{r: r, holders: map[plan.FileEnd]holder{}, channels: map[ownEnd]int{}}
	for i := range rep.Tasks {
		pid := rep.Tasks[i].HostPID
		out := plan.Outcome{Failed: r.noted(i), Table: map[int]plan.Held{}}
		if owners[i] != nil {
			out.Shares = owners[i].Name
		}
		numbers, err := proc.FDs(pid)
		if err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
		for _, n := range numbers {
			h := plan.Held{}
			flags, err := proc.FDFlags(pid, n)
			if err != nil {
				return nil, fmt.Errorf("restore: %w", err)
			}
			h.Cloexec = flags&unix.O_CLOEXEC != 0
			hint := ""
			if hints != nil {
				hint = hints[i].Table[n].File
			}
			fe, err := known.find(pid, n, hint)
			if err == nil && fe == plan.Nothing {
				fe, err = names.find(i, pid, n, hint)
			}
			if err != nil {
				return nil, err
			}
			h.File = "[unknown]"
			if fe != plan.Nothing {
				h.File = r.plan.EndName(fe)
			}
			out.Table[n] = h
		}
		seen.Tasks = append(seen.Tasks, out)
	}
	return seen, nil
}

// noted gives the first op of a task that failed, or nil.
func (r *run) noted(task int) *plan.FailedOp {
	rec := r.arena.Record(task)
	if rec.Errno == 0 {
		return nil
	}
	return words.FailedOp(r.plan, task, int(rec.Op), unix.Errno(rec.Errno))
}

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

func (r *run) knownFiles() (*knownFiles, error) {
	k := &knownFiles{plan: r.plan, self: os.Getpid()}
	for fe, s := range r.plan.SlotsOf {
		if r.slots[s].open {
			k.files = append(k.files, knownFile{fd: r.slots[s].fd, FileEnd: fe})
		}
	}
	if r.store != nil {
		k.files = append(k.files, knownFile{fd: r.store.fd(), FileEnd: plan.TheStore})
	}
	var failed error
	slices.SortFunc(k.files, func(a, b knownFile) int {
		order, err := proc.CompareFiles(k.self, k.self, a.fd, b.fd)
		if err != nil {
			failed = err
		}
		return direction(order)
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

// direction turns an answer of kcmp into one of a comparison.
func direction(order int) int { return []int{0, -1, 1, 0}[order&3] }

// find tells which open file a descriptor of a process is, nothing if it is none
// of them. Among those that are one and the same, hint is preferred.
func (k *knownFiles) find(pid, n int, hint string) (plan.FileEnd, error) {
	var failed error
	i, ok := slices.BinarySearchFunc(k.files, n, func(f knownFile, n int) int {
		order, err := proc.CompareFiles(k.self, pid, f.fd, n)
		if err != nil {
			failed = err
		}
		return direction(order)
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

// holder is where an open file was seen.
type holder struct{ pid, fd int }

// privateNames tells apart the open files that tasks have made for themselves.
type privateNames struct {
	r       *run
	holders map[plan.FileEnd]holder

	channels map[ownEnd]int // where each end of a task's channel was seen
}

// ownEnd is an end of the channel of one process.
type ownEnd struct {
	pid int
	end plan.FileEnd
}

// find names what a descriptor of a task is, nothing if it is none of the files
// that the task makes.
func (p *privateNames) find(task, pid, n int, hint string) (plan.FileEnd, error) {
	for fe, h := range p.holders {
		order, err := proc.CompareFiles(h.pid, pid, h.fd, n)
		if err != nil {
			return plan.Nothing, fmt.Errorf("restore: %w", err)
		}
		if order == 0 {
			return fe, nil
		}
	}
	if link, err := proc.FDLink(pid, n); err == nil && strings.HasPrefix(link, "socket:") {
		return p.channel(pid, n, hint)
	}
	found := plan.Nothing
	for _, fe := range p.candidates(task) {
		if _, named := p.holders[fe]; named || !p.leadsTo(fe, pid, n) {
			continue
		}
		if found == plan.Nothing || p.r.plan.EndName(fe) == hint {
			found = fe
		}
	}
	if found != plan.Nothing {
		p.holders[found] = holder{pid, n}
	}
	return found, nil
}

// channel names a socket that is none of the tree's: in a task that asks a service
// it is one of the two ends of its channel. Descriptors of one end are one open
// file.
func (p *privateNames) channel(pid, n int, hint string) (plan.FileEnd, error) {
	ends := []plan.FileEnd{plan.TheChannel, plan.TheEnd}
	if p.r.plan.Options.Strategy != plan.StrategyService {
		return plan.Nothing, nil
	}
	if hint == p.r.plan.EndName(plan.TheEnd) {
		slices.Reverse(ends)
	}
	for _, end := range ends {
		at, seen := p.channels[ownEnd{pid, end}]
		if !seen {
			p.channels[ownEnd{pid, end}] = n
			return end, nil
		}
		order, err := proc.CompareFiles(pid, pid, at, n)
		if err != nil {
			return plan.Nothing, fmt.Errorf("restore: %w", err)
		}
		if order == 0 {
			return end, nil
		}
	}
	return plan.Nothing, nil
}

// candidates lists what the task, or the owner of its table, makes for itself.
func (p *privateNames) candidates(task int) []plan.FileEnd {
	of := p.r.plan
	var all []plan.FileEnd
	for _, d := range of.Tree.Tasks()[task].Table().FDs {
		if _, stored := of.SlotsOf[plan.EndOf(&d)]; !stored && !slices.Contains(all, plan.EndOf(&d)) {
			all = append(all, plan.EndOf(&d))
		}
	}
	slices.SortFunc(all, func(a, b plan.FileEnd) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.End, b.End))
	})
	return all
}

// leadsTo reports whether a descriptor can be this open file: the path of its
// entry, or a pipe's end with the right access mode.
func (p *privateNames) leadsTo(fe plan.FileEnd, pid, n int) bool {
	of := p.r.plan
	if path := of.Tree.Files[fe.File].Spec.Traits(of.Tree).Path; path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(of.Host.Cwd, path)
		}
		var a, b unix.Stat_t
		return unix.Stat(path, &a) == nil && proc.StatFD(pid, n, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
	}
	link, err := proc.FDLink(pid, n)
	flags, err2 := proc.FDFlags(pid, n)
	mode := []int{unix.O_RDONLY, unix.O_WRONLY}
	return err == nil && err2 == nil && strings.HasPrefix(link, "pipe:") &&
		int(fe.End) < len(mode) && flags&unix.O_ACCMODE == mode[fe.End]
}
