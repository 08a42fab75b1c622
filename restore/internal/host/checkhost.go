package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// CheckHost finds everything that a checked tree needs and this kernel, these
// privileges or these limits lack: a [*plan.HostError], or nil. See the face, package
// restore.
func CheckHost(t *tasktree.Tree, host plan.Host) error {
	if lacks := Lacking(t, host, ThisKernel); len(lacks) > 0 {
		return &plan.HostError{Source: t.Source, Lacks: lacks}
	}
	return nil
}

// hostCheck collects what a host lacks.
type hostCheck struct {
	tree  *tasktree.Tree
	host  plan.Host
	ask   probes
	lacks []plan.Lack
}

// Lacking gives what the tree needs and the host lacks, sorted by position.
func Lacking(t *tasktree.Tree, host plan.Host, ask probes) []plan.Lack {
	c := &hostCheck{tree: t, host: host, ask: ask}
	c.always()
	c.namespaces()
	c.pids()
	c.pipes()
	c.memory()
	c.sockets()
	c.numbers()
	c.attributes()
	plan.SortLacks(c.lacks)
	return c.lacks
}

func (c *hostCheck) lack(pos tasktree.Pos, err error, format string, args ...any) {
	c.lacks = append(c.lacks, plan.Lack{Pos: pos, Msg: fmt.Sprintf(format, args...), Err: err})
}

// fewest is how many more the runtime starts now and then in the smallest restore.
const fewest = 4

// always has what every task needs.
func (c *hostCheck) always() {
	root := c.tree.Root
	if err := c.ask.closeRange(); err != nil {
		c.lack(root.Pos, err, "task %q: close_range is missing (Linux 5.9), or a sandbox refuses it; allow it there", root.Name)
	}
	c.calls()
	// Without a thread that it needs the Go runtime ends the process: there must be
	// room before there is anything that such an end would leave.
	if room, limit := c.ask.Room(); room < fewest {
		c.lack(root.Pos, nil, "task %q: %s leaves room for %d more processes, and regrow itself may need %d threads; raise it", root.Name, limit, max(room, 0), fewest)
	}
	switch err := c.ask.proc(); {
	case errors.Is(err, proc.ErrForeign):
		c.lack(root.Pos, nil, "task %q: %v; mount one for this (unshare --mount-proc)", root.Name, err)
	case errors.Is(err, proc.ErrNoChildren):
		c.lack(root.Pos, nil, "task %q: %v, which regrow needs to find a tree's descendants; use a kernel that has it", root.Name, err)
	case err != nil:
		c.lack(root.Pos, err, "task %q: /proc is needed; mount it (mount -t proc proc /proc)", root.Name)
	}
}

// calls has what every restore calls, and what tasks without a program do.
func (c *hostCheck) calls() {
	tasks := c.tree.Tasks()
	held := slices.IndexFunc(tasks, func(t *tasktree.Task) bool { return t.Holds() })
	for _, refused := range c.ask.calls() {
		switch {
		case !refused.held:
			c.lack(c.tree.Root.Pos, refused.err, "task %q: a sandbox (a seccomp filter) refuses %s, by which %s; allow it there", c.tree.Root.Name, refused.name, refused.need)
		case held >= 0:
			c.lack(tasks[held].Pos, refused.err, "task %q: a sandbox (a seccomp filter) refuses %s, by which %s; allow it there, or give every task a program (run)",
				tasks[held].Name, refused.name, refused.need)
		}
	}
}

// namespaces has what the new namespaces of the tree need.
func (c *hostCheck) namespaces() {
	user, pid := c.tree.HasNamespace(tasktree.NamespaceUser), c.tree.HasNamespace(tasktree.NamespacePID)
	if user {
		err := c.ask.Clone(c.host, []tasktree.Namespace{tasktree.NamespaceUser})
		if err != nil {
			without := "leave user out and run as root"
			if c.host.UID == 0 {
				without = "leave user out"
			}
			c.lack(c.tree.NamespacePos(tasktree.NamespaceUser), err,
				"a new user namespace is refused: %s, or %s", c.userReason(err), without)
			return // what it would own is not known
		}
	}
	if !pid {
		return
	}
	err := c.ask.Clone(c.host, c.names())
	if err == nil {
		return
	}
	at := c.tree.NamespacePos(tasktree.NamespacePID)
	switch {
	case errors.Is(err, unix.EPERM) && !user && !c.may(unix.CAP_SYS_ADMIN):
		c.lack(at, err, "a new pid namespace needs CAP_SYS_ADMIN; %s", c.withUser())
	case errors.Is(err, unix.ENOSPC):
		c.lack(at, err, "a new pid namespace is refused: %s, or leave pid out", c.full("user/max_pid_namespaces"))
	case errors.Is(err, unix.EINVAL):
		c.lack(at, err, "a new pid namespace is refused: this kernel was built without CONFIG_PID_NS; leave pid out")
	default:
		c.lack(at, err, "a new pid namespace is refused: %s, or leave pid out", c.sandbox("CLONE_NEWPID"))
	}
}

func (c *hostCheck) names() []tasktree.Namespace {
	names := make([]tasktree.Namespace, len(c.tree.Namespaces))
	for i, n := range c.tree.Namespaces {
		names[i] = n.Name
	}
	return names
}

// withUser says how to get a pid namespace without privileges.
func (c *hostCheck) withUser() string {
	err := c.ask.Clone(c.host, []tasktree.Namespace{tasktree.NamespaceUser, tasktree.NamespacePID})
	if err == nil {
		return "run as root, or write namespaces: [user, pid], which needs no privilege"
	}
	return fmt.Sprintf("run as root; [user, pid], which needs no privilege, is refused here too: %s", c.userReason(err))
}

// userReason says why the kernel refuses a user namespace, and what lets it. See
// user_namespaces(7) and clone(2), EPERM and ENOSPC.
func (c *hostCheck) userReason(err error) string {
	_, born := errors.AsType[*probeError](err) // it could be made, and its maps not
	switch {
	case born && errors.Is(err, unix.EROFS):
		return assign.ReadOnlyProc
	case born && errors.Is(err, unix.EPERM) && c.host.UID == 0 && !c.may(unix.CAP_SETFCAP):
		return "root needs CAP_SETFCAP to map itself (Linux 5.12); grant it"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return c.full("user/max_user_namespaces")
	case errors.Is(err, unix.EINVAL):
		return "this kernel was built without CONFIG_USER_NS; use one that has it"
	case c.ask.sys("kernel/unprivileged_userns_clone") == "0":
		return "kernel.unprivileged_userns_clone is 0; set it to 1 (sysctl -w kernel.unprivileged_userns_clone=1)"
	case c.ask.sys("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "kernel.apparmor_restrict_unprivileged_userns is 1; give regrow an AppArmor profile that allows userns, or set it to 0"
	case born:
		return assign.DeniedIDs
	case c.ask.status("Seccomp") == "2":
		return c.sandbox("CLONE_NEWUSER")
	}
	return "the caller may be in a chroot, its user may be unknown in its own user namespace, or a security module forbids it; allow it there"
}

// full says that a count of namespaces is used up.
func (c *hostCheck) full(name string) string {
	dotted := "user." + name[len("user/"):]
	switch n := c.ask.sys(name); n {
	case "0":
		return fmt.Sprintf("%s is 0; raise it (sysctl -w %s=1000)", dotted, dotted)
	case "":
		return "a limit on namespaces is reached; raise " + dotted
	default:
		return fmt.Sprintf("the user has as many as %s allows (%s), here or in a namespace above, or 32 levels are nested; raise it", dotted, n)
	}
}

func (c *hostCheck) sandbox(flag string) string {
	if c.ask.status("Seccomp") == "2" {
		return fmt.Sprintf("a sandbox (a seccomp filter) forbids clone with %s; allow it there (docker: --security-opt seccomp=FILE)", flag)
	}
	return fmt.Sprintf("a security module forbids clone with %s; allow it there", flag)
}

// may reports whether the process has a capability, in its own user namespace.
func (c *hostCheck) may(capability int) bool {
	caps, err := strconv.ParseUint(c.ask.status("CapEff"), 16, 64)
	return err == nil && caps>>capability&1 == 1
}

// pids has what exact pids need. One that is in use is no lack of the host.
func (c *hostCheck) pids() {
	own, user := c.tree.HasNamespace(tasktree.NamespacePID), c.tree.HasNamespace(tasktree.NamespaceUser)
	var may, asked bool
	highest := int64(-1)
	for _, task := range c.tree.Tasks() {
		pid := task.PID
		if pid.Value == 0 || own && task.Parent == nil {
			continue // the kernel gives the first task of a namespace pid 1
		}
		if highest < 0 {
			highest, _ = strconv.ParseInt(c.ask.sys("kernel/pid_max"), 10, 64)
		}
		if highest > 0 && pid.Value >= highest {
			cure := fmt.Sprintf("raise it (sysctl -w kernel.pid_max=%d), or ask for less", pid.Value+1)
			if pid.Value >= tasktree.MaxPID {
				cure = "ask for less" // it cannot be raised that far
			}
			c.lack(pid.Pos, nil, "task %q: pid %d: kernel.pid_max is %d, so the highest pid is %d; %s", task.Name, pid.Value, highest, highest-1, cure)
		}
		if c.host.OldClone {
			c.lack(pid.Pos, nil, "task %q: an exact pid needs clone3, which a sandbox (a seccomp filter) refuses here; leave pid out, or allow clone3 there", task.Name)
			continue
		}
		if own {
			continue
		}
		if user && task.Parent != nil {
			c.lack(pid.Pos, nil, "task %q: an exact pid: a user namespace alone gives no right to the pids of the caller's pid namespace; "+
				"write namespaces: [user, pid], or leave pid out", task.Name)
			continue
		}
		if !asked {
			may, asked = c.ask.choosePIDs(), true
		}
		if !may {
			c.lack(pid.Pos, nil, "task %q: an exact pid needs CAP_CHECKPOINT_RESTORE (Linux 5.9) or CAP_SYS_ADMIN; "+
				"leave pid out, run as root, or write namespaces: [user, pid]", task.Name)
		}
	}
}

// pipes has what the capacities of pipes need: each by itself, and all together.
func (c *hostCheck) pipes() {
	var most, checked, pages int64
	limits := []*pagesLimit{{name: "fs.pipe-user-pages-soft"}, {name: "fs.pipe-user-pages-hard"}}
	for _, f := range c.tree.Files {
		needy, ok := f.Spec.(tasktree.Needy)
		if !ok || !f.Needed {
			continue
		}
		var size tasktree.Number
		for _, n := range needy.Host(c.tree) {
			if n.What == recipe.PipePages {
				size = tasktree.Number{Value: n.N, Pos: n.Pos}
			}
		}
		if size.Value == 0 {
			continue
		}
		if !size.Pos.IsValid() {
			size.Pos = f.Pos
		}
		if most == 0 {
			if most, _ = strconv.ParseInt(c.ask.sys("fs/pipe-max-size"), 10, 64); most == 0 {
				return
			}
			checked = most
		}
		if size.Value > checked && c.pipe(f, size, most) {
			checked = size.Value
		}
		if pages += max(size.Value/int64(os.Getpagesize()), 1); c.host.PipesLimited {
			for _, limit := range limits {
				limit.note(c.ask, size.Pos, f.Name, pages)
			}
		}
	}
	// What other pipes of the user take depends on the moment, and is met on the way.
	for _, limit := range limits {
		if limit.file != "" {
			c.lack(limit.pos, nil, "file %q: the pipes of the tree take %d pages in all, and %s allows a user %d, without CAP_SYS_RESOURCE or CAP_SYS_ADMIN; "+
				"raise it (sysctl -w %s=%d), or ask for smaller ones", limit.file, pages, limit.name, limit.most, limit.name, pages)
		}
	}
}

// sockets has what sockets need: each by itself, and all that waits in them together.
func (c *hostCheck) sockets() {
	var inFlight int64
	asked, over := false, false
	var refused error
	for _, f := range c.tree.Files {
		needy, ok := f.Spec.(tasktree.Needy)
		if !ok || !f.Needed {
			continue
		}
		for _, n := range needy.Host(c.tree) {
			switch n.What {
			case recipe.UnixOOB:
				if !asked {
					asked, refused = true, c.ask.unixOOB()
				}
				if refused != nil {
					c.lack(n.Pos, refused, "file %q: this kernel has no out-of-band bytes on Unix sockets (Linux 5.15 with CONFIG_AF_UNIX_OOB); drop oob", f.Name)
				}
			case recipe.Backlog:
				c.backlog(f, n)
			case recipe.SendBuffer:
				c.buffer(f, n, "wmem_max")
			case recipe.ReceiveBuffer:
				c.buffer(f, n, "rmem_max")
			case recipe.InFlight:
				inFlight += n.N
				if uint64(inFlight) > c.host.HardFiles && !over && !c.may(unix.CAP_SYS_RESOURCE) && !c.may(unix.CAP_SYS_ADMIN) {
					over = true
					c.lack(n.Pos, nil, "file %q: with these %d files wait in queues, and a user may have %d in flight, as many as the hard RLIMIT_NOFILE; raise it, or run as root", f.Name, inFlight, c.host.HardFiles)
				}
			default:
			}
		}
	}
}

// buffer has one that the kernel cuts without a word.
func (c *hostCheck) buffer(f *tasktree.OpenFile, n recipe.Need, limit string) {
	most, err := strconv.ParseInt(c.ask.sys("net/core/"+limit), 10, 64)
	if err == nil && n.N > most && (!c.may(unix.CAP_NET_ADMIN) || !proc.InFirstUserNamespace()) {
		c.lack(n.Pos, nil, "file %q: a buffer of %d bytes: net.core.%s allows %d, and more takes CAP_NET_ADMIN in the first user namespace; raise it, or ask for less", f.Name, 2*n.N, limit, 2*most)
	}
}

// backlog has a listener's, which the kernel cuts without a word.
func (c *hostCheck) backlog(f *tasktree.OpenFile, n recipe.Need) {
	if most, err := strconv.ParseInt(c.ask.sys("net/core/somaxconn"), 10, 64); err == nil && n.N > most {
		c.lack(n.Pos, nil, "file %q: backlog %d, net.core.somaxconn is %d; raise it (sysctl -w net.core.somaxconn=%d), or ask for less", f.Name, n.N, most, n.N)
	}
}

// pipe tries a pipe that is over fs.pipe-max-size, and reports whether there can be
// one.
func (c *hostCheck) pipe(f *tasktree.OpenFile, size tasktree.Number, most int64) bool {
	err := c.ask.pipe(size.Value)
	if errors.Is(err, unix.EPERM) {
		c.lack(size.Pos, err, "file %q: a pipe of %d bytes: fs.pipe-max-size is %d, and beyond it CAP_SYS_RESOURCE is needed; "+
			"raise it (sysctl -w fs.pipe-max-size=%d), or ask for less", f.Name, size.Value, most, size.Value)
	}
	return err == nil
}

// pagesLimit is a limit of all pipes of a user.
type pagesLimit struct {
	name  string
	asked bool
	most  int64 // pages, 0: there is no limit
	pos   tasktree.Pos
	file  string // the first that goes beyond it, "" none
}

// note notes that the pipes up to this file take so many pages.
func (l *pagesLimit) note(ask probes, pos tasktree.Pos, file string, pages int64) {
	if !l.asked {
		l.asked = true
		l.most, _ = strconv.ParseInt(ask.sys(strings.Replace(l.name, ".", "/", 1)), 10, 64)
	}
	if l.most > 0 && pages > l.most && l.file == "" {
		l.pos, l.file = pos, file
	}
}

// attributes has what the attributes of tasks need.
func (c *hostCheck) attributes() {
	for _, task := range c.tree.Tasks() {
		task.EachAttribute(func(a tasktree.Attribute) {
			needy, ok := a.(tasktree.NeedyAttribute)
			if !ok {
				return
			}
			for _, n := range needy.Host() {
				if n.What != recipe.NiceValue {
					continue
				}
				if now, err := c.ask.nice(int(n.N), c.tree.HasNamespace(tasktree.NamespaceUser)); err != nil {
					c.lack(n.Pos, err, "task %q: nice %d is below the caller's, which is %d: that needs CAP_SYS_NICE in the first user namespace, or an RLIMIT_NICE of %d (ulimit -e); "+
						"leave nice out, or ask for %d or more", task.Name, n.N, now, 20-n.N, now)
				}
			}
		})
	}
}

// numbers has the descriptors that no process may have here.
func (c *hostCheck) numbers() {
	hard := c.host.HardFiles
	for _, task := range c.tree.Tasks() {
		for i := range task.FDs {
			if d := &task.FDs[i]; uint64(d.FD) >= hard {
				c.lack(d.Pos, nil, "%s", plan.TooHigh(task, d, hard))
			}
		}
	}
}
