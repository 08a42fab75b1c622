package host

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/plantest"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

var update = flag.Bool("update", false, "rewrite the golden messages")

// needyTree needs everything that a host can lack; in these namespaces.
func needyTree(t testing.TB, namespaces ...tasktree.Namespace) *tasktree.Tree {
	t.Helper()
	at := func(line, col int) tasktree.Pos { return tasktree.Pos{Line: line, Col: col} }
	pid := func(n int64, line int) tasktree.Number { return tasktree.Number{Value: n, Pos: at(line, 10)} }
	pipe := func(size int64, line int) *kind.Pipe {
		return &kind.Pipe{Capacity: tasktree.Number{Value: size, Pos: at(line, 30)}}
	}
	fd := func(n int, file string, line int) tasktree.Descriptor {
		return tasktree.Descriptor{FD: n, File: plantest.Text(file), Pos: at(line, 10)}
	}
	tree := &tasktree.Tree{Source: "tree.yaml", Files: []*tasktree.OpenFile{
		{Name: "usual", Pos: at(4, 3), Spec: pipe(65536, 4)},
		{Name: "huge", Pos: at(5, 3), Spec: pipe(3<<20, 5)},
		{Name: "unused", Pos: at(6, 3), Spec: pipe(1<<30, 6)},
		{Name: "larger", Pos: at(7, 3), Spec: pipe(16<<20, 7)},
	}}
	for i, n := range namespaces {
		tree.Namespaces = append(tree.Namespaces, tasktree.NamespaceItem{Name: n, Pos: at(2, 14+6*i)})
	}
	tree.Root = &tasktree.Task{Name: "root", Pos: at(9, 11), PID: pid(1, 10), FDs: []tasktree.Descriptor{fd(3, "usual.r", 11), fd(64, "huge.w", 12), fd(63, "usual.w", 13)}}
	tree.Root.Children = []*tasktree.Task{
		{Name: "exact", Pos: at(14, 11), PID: pid(40000, 15), FDs: []tasktree.Descriptor{fd(1000, "larger.r", 16)}},
		{Name: "other", Pos: at(17, 11), PID: pid(77, 18)},
		{Name: "any", Pos: at(19, 11)},
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

// able is a host that lacks nothing.
func able() probes {
	return probes{
		closeRange: func() error { return nil },
		proc:       func() error { return nil },
		Clone:      func(plan.Host, []tasktree.Namespace) error { return nil },
		choosePIDs: func() bool { return true },
		pipe:       func(int64) error { return nil },
		unixOOB:    func() error { return nil },
		Room:       func() (int, string) { return proc.Unlimited, "" },
		calls:      func() []refusedCall { return nil },
		sys: func(name string) string {
			return map[string]string{"kernel/pid_max": "4194304", "fs/pipe-max-size": "1048576", "user/max_user_namespaces": "100", "user/max_pid_namespaces": "100"}[name]
		},
		status: func(name string) string { return map[string]string{"CapEff": "0000000000000000", "Seccomp": "0"}[name] },
	}
}

// refuses makes the clone of these namespaces fail, and leaves that of others.
func (p probes) refuses(err error, namespaces ...tasktree.Namespace) probes {
	p.Clone = func(_ plan.Host, asked []tasktree.Namespace) error {
		if slices.ContainsFunc(asked, func(n tasktree.Namespace) bool { return slices.Contains(namespaces, n) }) {
			return err
		}
		return nil
	}
	return p
}

// with gives a parameter of /proc/sys or a field of /proc/self/status a value.
func (p probes) with(name, value string) probes {
	sys, status := p.sys, p.status
	given := func(other func(string) string) func(string) string {
		return func(asked string) string {
			if asked == name {
				return value
			}
			return other(asked)
		}
	}
	p.sys, p.status = given(sys), given(status)
	return p
}

// TestLacking holds what is said of each lack, and that all are said at once.
func TestLacking(t *testing.T) {
	const user, pid = tasktree.NamespaceUser, tasktree.NamespacePID
	roomy := plan.Host{UID: 1000, HardFiles: 1 << 20}
	clone3 := func(e unix.Errno) error { return os.NewSyscallError("clone3", e) }
	write := &probeError{`write "/proc/self/uid_map"`, unix.EPERM}
	nothing := able()
	nothing.closeRange = func() error { return unix.ENOSYS }
	nothing.proc = func() error { return unix.ENOENT }
	nothing.choosePIDs = func() bool { return false }
	nothing.pipe = func(int64) error { return os.NewSyscallError("fcntl(F_SETPIPE_SZ)", unix.EPERM) }
	nothing = nothing.with("kernel/pid_max", "32768").refuses(clone3(unix.EPERM), user, pid)
	limits := nothing // with all privileges but CAP_SYS_RESOURCE
	limits.closeRange, limits.proc, limits.choosePIDs = able().closeRange, able().proc, able().choosePIDs
	foreign := able()
	foreign.proc = func() error { return proc.ErrForeign }
	childless := able()
	childless.proc = func() error { return proc.ErrNoChildren }
	soft := able() // the pipes of the user together
	soft.pipe = func(size int64) error {
		if size < 16<<20 {
			return nil
		}
		return unix.ENOMEM
	}
	pages := able().with("fs/pipe-max-size", "16777216").with("fs/pipe-user-pages-soft", "783").with("fs/pipe-user-pages-hard", "5135")
	exactly := pages.with("fs/pipe-user-pages-soft", "5136").with("fs/pipe-user-pages-hard", "5136")
	crowded := able()
	crowded.Room = func() (int, string) { return -1, "RLIMIT_NPROC (ulimit -u)" }
	refusing := able()
	refusing.calls = func() (all []refusedCall) {
		for _, c := range everyCalls {
			all = append(all, refusedCall{c, unix.EPERM})
		}
		return all
	}
	noPIDs := able()
	noPIDs.choosePIDs = func() bool { return false }

	for _, c := range []struct {
		name       string
		host       plan.Host
		ask        probes
		namespaces []tasktree.Namespace
	}{
		{"nothing lacks", roomy, able(), []tasktree.Namespace{user, pid}},
		{"nothing lacks without namespaces", roomy, able(), nil},
		{"everything lacks", plan.Host{UID: 1000, HardFiles: 64}, nothing, []tasktree.Namespace{pid, user}},
		{"everything lacks without namespaces", plan.Host{UID: 1000, HardFiles: 64, OldClone: true}, nothing, nil},
		{"limits alone", plan.Host{HardFiles: 64}, limits, nil},
		{"old clone", plan.Host{HardFiles: 1 << 20, OldClone: true}, able(), []tasktree.Namespace{user, pid}},
		{"another proc", roomy, foreign, nil},
		{"no children in proc", roomy, childless, nil},
		{"moment of the pipes", roomy, soft, nil},
		{"pages of pipes", plan.Host{UID: 1000, HardFiles: 1 << 20, PipesLimited: true}, pages, nil},
		{"pages of pipes by root", plan.Host{HardFiles: 1 << 20}, pages, nil},
		{"pages of pipes up to the limit", plan.Host{UID: 1000, HardFiles: 1 << 20, PipesLimited: true}, exactly, nil},
		{"no room for threads", roomy, crowded, nil},
		{"calls that every restore makes", roomy, refusing, nil},
		{"exact pids", roomy, noPIDs, nil},
		{"exact pids in user alone", roomy, able(), []tasktree.Namespace{user}},
		{"exact pids in user alone, the root too", roomy, noPIDs, []tasktree.Namespace{user}},
		{"pid by an ordinary user", roomy, able().refusesAlone(clone3(unix.EPERM)), []tasktree.Namespace{pid}},
		{"pid where user is refused too", roomy, able().with("kernel/unprivileged_userns_clone", "0").refuses(clone3(unix.EPERM), user, pid), []tasktree.Namespace{pid}},
		{"pid by root in a sandbox", plan.Host{HardFiles: 1 << 20}, able().with("CapEff", "000001ffffffffff").with("Seccomp", "2").refuses(clone3(unix.EPERM), pid), []tasktree.Namespace{pid}},
		{"pid by root under a security module", plan.Host{HardFiles: 1 << 20}, able().with("CapEff", "000001ffffffffff").refuses(clone3(unix.EACCES), pid), []tasktree.Namespace{pid}},
		{"no pid namespaces left", roomy, able().with("user/max_pid_namespaces", "0").refuses(clone3(unix.ENOSPC), pid), []tasktree.Namespace{user, pid}},
		{"no pid namespaces in the kernel", roomy, able().refuses(clone3(unix.EINVAL), pid), []tasktree.Namespace{user, pid}},
		{"no user namespaces allowed", roomy, able().with("user/max_user_namespaces", "0").refuses(clone3(unix.ENOSPC), user), []tasktree.Namespace{user, pid}},
		{"no user namespaces left", roomy, able().refuses(clone3(unix.ENOSPC), user), []tasktree.Namespace{user, pid}},
		{"no user namespaces left and no sysctl", roomy, able().with("user/max_user_namespaces", "").refuses(clone3(unix.EUSERS), user), []tasktree.Namespace{user, pid}},
		{"no user namespaces in the kernel", roomy, able().refuses(clone3(unix.EINVAL), user), []tasktree.Namespace{user, pid}},
		{"Debian", roomy, able().with("kernel/unprivileged_userns_clone", "0").refuses(clone3(unix.EPERM), user), []tasktree.Namespace{user, pid}},
		{"Ubuntu", roomy, able().with("kernel/apparmor_restrict_unprivileged_userns", "1").refuses(write, user), []tasktree.Namespace{user, pid}},
		{"sandbox", roomy, able().with("Seccomp", "2").refuses(clone3(unix.EPERM), user), []tasktree.Namespace{user}},
		{"chroot", roomy, able().refuses(clone3(unix.EPERM), user), []tasktree.Namespace{user}},
		{"root without CAP_SETFCAP", plan.Host{HardFiles: 1 << 20}, able().refuses(write, user), []tasktree.Namespace{user, pid}},
		{"proc is read-only", roomy, able().refuses(&probeError{`openat "/proc/self/setgroups"`, unix.EROFS}, user), []tasktree.Namespace{user, pid}},
		{"no dump", roomy, able().refuses(&probeError{`openat "/proc/self/setgroups"`, unix.EACCES}, user), []tasktree.Namespace{user, pid}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := needyTree(t, c.namespaces...)
			got := ""
			if lacks := Lacking(tree, c.host, c.ask); len(lacks) > 0 {
				err := &plan.HostError{Source: tree.Source, Lacks: lacks}
				got = err.Error() + "\n"
				if !slices.IsSortedFunc(lacks, func(a, b plan.Lack) int { return a.Pos.Compare(b.Pos) }) {
					t.Error("not sorted")
				}
				for _, l := range lacks {
					if !l.Pos.IsValid() {
						t.Errorf("no line needs %q", l.Msg)
					}
					if l.Err != nil && !errors.Is(err, l.Err) {
						t.Errorf("%v is not among the reasons", l.Err)
					}
				}
			}
			golden := filepath.Join("testdata", "host", strings.ReplaceAll(strings.ReplaceAll(c.name, " ", "-"), ",", "")+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// refusesAlone makes the clone of any one namespace but user fail.
func (p probes) refusesAlone(err error) probes {
	p.Clone = func(_ plan.Host, asked []tasktree.Namespace) error {
		if slices.Contains(asked, tasktree.NamespaceUser) {
			return nil
		}
		return err
	}
	return p
}

// TestProbes asks this kernel, which the tests are only run on if it is new
// enough: a no must have a reason.
func TestProbes(t *testing.T) {
	host, err := ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	if err := ThisKernel.closeRange(); err != nil {
		t.Errorf("close_range: %v", err)
	}
	if err := ThisKernel.proc(); err != nil {
		t.Errorf("/proc: %v", err)
	}
	if refused := ThisKernel.calls(); len(refused) > 0 {
		t.Errorf("calls: %v", refused)
	}
	if err := ThisKernel.pipe(4096); err != nil {
		t.Errorf("a pipe of a page: %v", err)
	}
	before := openDescriptors(t)
	for _, namespaces := range [][]tasktree.Namespace{
		nil, {tasktree.NamespaceUser}, {tasktree.NamespaceUser, tasktree.NamespacePID}, {tasktree.NamespacePID},
	} {
		tree := needyTree(t, namespaces...)
		for _, old := range []bool{false, true} {
			host.OldClone = old
			err := tryClone(tree, host)
			if len(namespaces) == 1 && namespaces[0] == tasktree.NamespacePID && os.Geteuid() != 0 {
				if !errors.Is(err, unix.EPERM) {
					t.Errorf("%v as an ordinary user: %v, want EPERM", namespaces, err)
				}
			} else if err != nil {
				t.Errorf("%v, old clone %v: %v", namespaces, old, err)
			}
		}
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("%d descriptors after the probes, %d before", after, before)
	}
	self, err := proc.Self()
	if err != nil {
		t.Fatal(err)
	}
	if left, missed := proc.Children(self); missed > 0 || len(left) > 0 {
		t.Errorf("the probes left children: %v, %d missed", left, missed)
	}
	host.UID = 1<<31 + 12345 // not ours: the kernel refuses the map
	if err := tryClone(needyTree(t, tasktree.NamespaceUser), host); os.Geteuid() != 0 && !errors.Is(err, unix.EPERM) {
		t.Errorf("another user's map: %v, want EPERM", err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}
