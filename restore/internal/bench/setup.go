package bench

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/assign"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree/recipe"
)

// setUp writes what a bench does before its first step:
//
//	folder ─ namespaces ─ maps of a new user namespace ─ groups, group, user ─
//	end with the process that restores
func (p *Pending) setUp(b *batch) {
	b.About(program.VerbBench, b.first.pos, b.first.file)
	if b.bench.Cwd != "" {
		p.call(b, recipe.Call{Name: "fchdir", Nr: unix.SYS_FCHDIR, Effect: recipe.Folder, Args: []recipe.Arg{recipe.FD(recipe.Ref(b.folder))}})
	}
	if b.bench.New != 0 {
		p.unshare(b)
	}
	if as := b.bench.As; as != nil {
		p.become(b, as)
	}
	// Behind all that changes credentials: the kernel takes it away then, see
	// PR_SET_PDEATHSIG in prctl(2).
	p.call(b, recipe.Call{
		Name: "prctl(PR_SET_PDEATHSIG)", Nr: unix.SYS_PRCTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.Int(unix.PR_SET_PDEATHSIG), recipe.Int(int64(unix.SIGKILL)), recipe.Int(0), recipe.Int(0), recipe.Int(0)},
	})
}

// unshare writes how a bench leaves namespaces.
func (p *Pending) unshare(b *batch) {
	if b.bench.New&unix.CLONE_NEWPID != 0 {
		panic("restore: bug: a bench has no pid namespace of its own: that ends with its first child")
	}
	p.call(b, recipe.Call{
		Name: "unshare", Nr: unix.SYS_UNSHARE, Effect: recipe.Namespace, Args: []recipe.Arg{recipe.Int(int64(b.bench.New))},
		Hints: []recipe.Hint{
			{Errno: int(unix.EPERM), Text: "new namespaces need CAP_SYS_ADMIN, or a user namespace that is made with them"},
			{Errno: int(unix.ENOSPC), Text: "a limit in /proc/sys/user is reached"},
		},
	})
	if b.bench.New&unix.CLONE_NEWUSER == 0 {
		return
	}
	for _, f := range assign.IDFiles(&p.plan.Host) {
		slot := p.plan.NewSlot()
		hints := []recipe.Hint{{Errno: int(unix.EACCES), Text: assign.DeniedIDs}, {Errno: int(unix.EROFS), Text: assign.ReadOnlyProc}}
		op, note := b.Recipe(program.OpCall, recipe.Call{
			Nr: unix.SYS_OPENAT, Effect: recipe.GivesFD,
			Args: []recipe.Arg{recipe.Int(unix.AT_FDCWD), recipe.Data([]byte(f.Path + "\x00")), recipe.Int(unix.O_WRONLY | unix.O_CLOEXEC)},
		}, setRef)
		op.Out, note.Makes, note.Extra = slot, 1, p.planner.Extra(plan.Extra{Path: f.Path, Hints: hints})
		_, note = b.Recipe(program.OpCall, recipe.Call{
			Nr: unix.SYS_WRITE, Effect: recipe.Nothing, Want: int64(len(f.Text)), HasWant: true,
			Args: []recipe.Arg{recipe.FD(recipe.Ref(slot)), recipe.Data([]byte(f.Text)), recipe.Int(int64(len(f.Text)))},
		}, setRef)
		note.Extra = p.planner.Extra(plan.Extra{Path: f.Path, Hints: hints})
		closes(b, slot)
	}
}

// become writes how a bench gets other credentials.
func (p *Pending) become(b *batch, as *recipe.Credentials) {
	var groups []byte
	for _, g := range as.Groups {
		groups = binary.NativeEndian.AppendUint32(groups, uint32(g))
	}
	uid, gid := recipe.Int(int64(as.UID)), recipe.Int(int64(as.GID))
	calls := []recipe.Call{
		{Name: "setgroups", Nr: unix.SYS_SETGROUPS, Args: []recipe.Arg{recipe.Int(int64(len(as.Groups))), recipe.Data(groups)}},
		{Name: "setresgid", Nr: unix.SYS_SETRESGID, Args: []recipe.Arg{gid, gid, gid}},
		{Name: "setresuid", Nr: unix.SYS_SETRESUID, Args: []recipe.Arg{uid, uid, uid}},
	}
	if b.bench.New&unix.CLONE_NEWUSER != 0 { // setgroups is denied there, see user_namespaces(7)
		if len(as.Groups) > 0 {
			panic("restore: bug: a bench in a new user namespace cannot have supplementary groups")
		}
		calls = calls[1:]
	}
	for _, c := range calls {
		c.Effect = recipe.User
		c.Hints = []recipe.Hint{
			{Errno: int(unix.EPERM), Text: fmt.Sprintf("to become user %d of group %d needs CAP_SETUID and CAP_SETGID", as.UID, as.GID)},
			{Errno: int(unix.EINVAL), Text: "the user namespace has no such user or group"},
		}
		p.call(b, c)
	}
}

// finish writes what a bench does behind its last step: it sends the files that it gives,
// and ends.
func (p *Pending) finish(b *batch) {
	b.About(program.VerbBench, b.first.pos, b.first.file)
	for rest := b.gives; len(rest) > 0; rest = rest[min(mostGiven, len(rest)):] {
		m := recipe.Message{To: recipe.Ref(b.channel), Data: []byte{0}}
		for _, slot := range rest[:min(mostGiven, len(rest))] {
			m.Files = append(m.Files, recipe.Ref(slot))
		}
		m.Hints = []recipe.Hint{{Errno: int(unix.ETOOMANYREFS), Text: "as many files are on their way between processes as the RLIMIT_NOFILE of the user allows"}}
		b.Message(m, setRef)
	}
	p.call(b, recipe.Call{Name: "exit_group", Nr: unix.SYS_EXIT_GROUP, Effect: recipe.Ends, Args: []recipe.Arg{recipe.Int(0)}})
}
