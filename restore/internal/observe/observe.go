package observe

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/report"
)

// Possible gives an error, a [*plan.HostError], where the kernel does not tell what a
// descriptor really is.
func Possible(p *plan.Plan) error { return noKcmp(p, proc.Compares()) }

// noKcmp makes a [*plan.HostError] of an error that says that kcmp is refused.
func noKcmp(p *plan.Plan, err error) error {
	call, ok := errors.AsType[*os.SyscallError](err)
	if !ok || call.Syscall != "kcmp" || !refusal(err) {
		return err
	}
	return &plan.HostError{Source: p.Tree.Source, Lacks: []plan.Lack{{
		Pos: p.Tree.Root.Pos, Err: call,
		Msg: "what a descriptor really is cannot be seen here: kcmp is refused by a sandbox (a seccomp filter) or missing (CONFIG_KCMP); " +
			"allow it there (docker: --cap-add SYS_PTRACE, or --security-opt seccomp=FILE)",
	}}}
}

// refusal reports whether the kernel, a filter or a security module does not let
// this process compare.
func refusal(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS)
}

// Look reads every table of a tree. Of entries that are one open file, and of files that
// tasks have made and that lead to the same, hints tells which is meant, a task's in the
// order of the description; nil: the first.
//
// The error is a [*plan.HostError] where the kernel does not tell (kcmp(2)), or says that
// a task has ended.
func Look(v plan.View, hints []plan.Outcome) (*plan.Observation, error) {
	seen, err := look(v, hints)
	return seen, noKcmp(v.Plan, err)
}

func look(v plan.View, hints []plan.Outcome) (*plan.Observation, error) {
	known, err := newKnownFiles(v)
	if err != nil {
		return nil, err
	}
	seen := &plan.Observation{}
	owners, err := report.SharedTables(v.Plan.Tree.Tasks(), v.PIDs)
	if err != nil {
		return nil, err
	}
	names := &privateNames{plan: v.Plan, holders: map[plan.FileEnd]holder{}, channels: map[ownEnd]int{}}
	for i, pid := range v.PIDs {
		out := plan.Outcome{Failed: v.Failed[i], Table: map[int]plan.Held{}}
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
				h.File = v.Plan.EndName(fe)
			}
			out.Table[n] = h
		}
		seen.Tasks = append(seen.Tasks, out)
	}
	return seen, nil
}

// holder is where an open file was seen.
type holder struct{ pid, fd int }

// privateNames tells apart the open files that tasks have made for themselves.
type privateNames struct {
	plan    *plan.Plan
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
		if found == plan.Nothing || p.plan.EndName(fe) == hint {
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
	if p.plan.Options.Strategy != plan.StrategyService {
		return plan.Nothing, nil
	}
	if hint == p.plan.EndName(plan.TheEnd) {
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
	of := p.plan
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
	of := p.plan
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
