package restore

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/postfork"
	"regrow/tasktree"
)

// checkHost finds out whether this kernel and these privileges can restore the
// tree. It exercises the calls rather than asking for versions.
func checkHost(p *Plan) error {
	t := p.tree
	if err := unix.CloseRange(1<<31, 1<<31, 0); err != nil {
		return &HostError{t.Source, tasktree.Pos{}, "close_range is missing (Linux 5.9), or a sandbox refuses it", err}
	}
	caps, err := capabilities()
	if err != nil {
		return &HostError{t.Source, tasktree.Pos{}, "/proc is needed", err}
	}
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return &HostError{t.Source, tasktree.Pos{}, "/proc belongs to another pid namespace; mount one for this (unshare --mount-proc)", err}
	}
	has := func(bit int) bool { return caps>>bit&1 == 1 }
	for _, n := range t.Namespaces {
		if n.Name == tasktree.NamespacePID && !has(unix.CAP_SYS_ADMIN) {
			return &HostError{Source: t.Source, Pos: n.Pos, Msg: "a new pid namespace needs CAP_SYS_ADMIN; run as root"}
		}
	}
	exact := exactTask(t)
	switch {
	case exact == nil:
		return nil
	case p.host.OldClone:
		return &HostError{
			Source: t.Source, Pos: exact.PID.Pos,
			Msg: fmt.Sprintf("task %q: an exact pid needs clone3, which a sandbox (a seccomp filter) refuses here; leave pid out, or allow clone3 there", exact.Name),
		}
	case t.HasNamespace(tasktree.NamespacePID), postfork.MayChoosePIDs():
		return nil
	}
	return &HostError{
		Source: t.Source, Pos: exact.PID.Pos,
		Msg: fmt.Sprintf("task %q: an exact pid needs CAP_CHECKPOINT_RESTORE (Linux 5.9) or CAP_SYS_ADMIN; leave pid out, or run as root", exact.Name),
	}
}

// exactTask gives the first task whose pid the kernel must be asked for, or nil.
func exactTask(t *tasktree.Tree) *tasktree.Task {
	for _, task := range t.Tasks() {
		if task.PID.Value != 0 && (task.Parent != nil || !t.HasNamespace(tasktree.NamespacePID)) {
			return task
		}
	}
	return nil
}

// capabilities gives the effective capabilities, a bit each.
func capabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no CapEff")
}
