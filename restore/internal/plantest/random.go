package plantest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// Text gives a word of a description that has no position.
func Text(s string) tasktree.Text { return tasktree.Text{Value: s} }

// drawer makes random trees by the rules: all kinds with all that they can say,
// dense, permuted and sparse numbers, shared and private files, files that are
// repeated in one table, exact pids, programs. Everything has a place.
type drawer struct {
	*rapid.T
	line int
	ends []string
}

// DrawTree makes a random checked tree.
func DrawTree(t *rapid.T, maxTasks int) *tasktree.Tree {
	d := &drawer{T: t}
	tree := &tasktree.Tree{Source: "random.yaml", Dir: rapid.SampledFrom([]string{"", "/srv", "rel"}).Draw(t, "dir")}
	for _, n := range tasktree.Namespaces {
		if rapid.Bool().Draw(t, "namespace") {
			tree.Namespaces = append(tree.Namespaces, tasktree.NamespaceItem{Name: n, Pos: d.pos()})
		}
	}
	for i := range rapid.IntRange(1, 12).Draw(t, "files") {
		tree.Files = append(tree.Files, d.file(fmt.Sprintf("f%d", i)))
	}
	for i, end := range slices.Clone(d.ends) {
		name, _, _ := strings.Cut(end, ".")
		f := tree.Files[slices.IndexFunc(tree.Files, func(f *tasktree.OpenFile) bool { return f.Name == name })]
		switch f.Spec.(type) {
		case *kind.Pipe, *kind.Memfd, *kind.Reg:
			if d.some(4, "opened again") {
				tree.Files = append(tree.Files, d.reopen(fmt.Sprintf("a%d", i), end))
			}
		}
	}
	shape := rapid.IntRange(0, 2).Draw(t, "shape")
	var all []*tasktree.Task
	for i := range rapid.IntRange(1, maxTasks).Draw(t, "tasks") {
		task := d.task(i, []int{8, 30, 900}[shape])
		if i > 0 {
			parent := all[rapid.IntRange(0, i-1).Draw(t, "parent")]
			parent.Children = append(parent.Children, task)
			if rapid.IntRange(0, 3).Draw(t, "exact") == 0 {
				task.PID = tasktree.Number{Value: int64(i + 2), Pos: d.pos()}
			}
		}
		all = append(all, task)
	}
	tree.Root = all[0]
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatalf("the generator makes an invalid tree: %v", problems)
	}
	return tree
}

func (d *drawer) pos() tasktree.Pos {
	d.line++
	return tasktree.Pos{Line: d.line, Col: 1}
}

func (d *drawer) text(s string) tasktree.Text { return tasktree.Text{Value: s, Pos: d.pos()} }

// some draws true one time in n.
func (d *drawer) some(n int, what string) bool { return rapid.IntRange(1, n).Draw(d.T, what) == n }

func (d *drawer) flags(what string, of ...int) kind.Flags {
	f := kind.Flags{Pos: d.pos()}
	for _, bit := range of {
		if d.some(3, what) {
			f.Bits |= bit
		}
	}
	return f
}

func (d *drawer) file(name string) *tasktree.OpenFile {
	f := &tasktree.OpenFile{Name: name, Pos: d.pos()}
	switch rapid.IntRange(0, 8).Draw(d.T, "kind") {
	case 7:
		fifo := d.fifo()
		f.Spec = fifo
		for i := range fifo.Opens {
			d.ends = append(d.ends, f.EndName(i))
		}
	case 0:
		p := d.pipe()
		f.Spec = p
		d.ends = append(d.ends, name+".r", name+".w")
	case 1:
		f.Spec = &kind.Inherit{Key: d.text(rapid.SampledFrom([]string{"stdin", "stdout", "stderr", "given", "lost"}).Draw(d.T, "key"))}
		d.ends = append(d.ends, name)
	case 2:
		f.Spec = &kind.Eventfd{
			Counter:   schema.Unsigned{Value: rapid.Uint64Max(1<<64-2).Draw(d.T, "counter"), Pos: d.pos()},
			Semaphore: schema.Bool{Value: rapid.Bool().Draw(d.T, "semaphore"), Pos: d.pos()},
			Flags:     d.flags("of an eventfd", unix.O_APPEND, unix.O_NOATIME, unix.O_NONBLOCK),
		}
		d.ends = append(d.ends, name)
	case 3:
		const never = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
		f.Spec = &kind.Signalfd{
			Signals: kind.Flags{Bits: rapid.Int().Draw(d.T, "signals") &^ never, Pos: d.pos()},
			Flags:   d.flags("of a signalfd", unix.O_APPEND, unix.O_NOATIME, unix.O_NONBLOCK),
		}
		d.ends = append(d.ends, name)
	case 4:
		f.Spec = d.memfd()
		d.ends = append(d.ends, name)
	case 8:
		f.Spec = d.pair()
		d.ends = append(d.ends, name+".a", name+".b")
	default:
		f.Spec = d.reg()
		d.ends = append(d.ends, name)
	}
	return f
}

func (d *drawer) memfd() *kind.Memfd {
	number := func(what string, most int64) tasktree.Number {
		if d.some(2, what) {
			return tasktree.Number{Value: rapid.Int64Range(0, most).Draw(d.T, what), Pos: d.pos()}
		}
		return tasktree.Number{}
	}
	m := &kind.Memfd{
		Name: d.text(rapid.StringMatching(`[a-z/ ]{0,20}`).Draw(d.T, "name")), Offset: number("offset", 1<<40), Mode: number("mode", 0o7777),
		Flags: d.flags("of a memfd", unix.O_APPEND, unix.O_NOATIME, unix.O_NONBLOCK),
	}
	if d.some(2, "owned") {
		m.Owner = kind.Owner{UID: tasktree.Number{Value: rapid.Int64Range(0, 1<<32-2).Draw(d.T, "user"), Pos: d.pos()}, GID: number("group", 1<<32-2)}
	}
	at := int64(0)
	for range rapid.IntRange(0, 3).Draw(d.T, "pieces") {
		at += rapid.Int64Range(0, 20_000).Draw(d.T, "hole")
		piece := kind.Piece{Offset: at, Data: d.text(rapid.StringN(0, 20, -1).Draw(d.T, "piece"))}
		at += int64(len(piece.Data.Value))
		m.Content = append(m.Content, piece)
	}
	if d.some(2, "sized") {
		m.Size = tasktree.Number{Value: at + rapid.Int64Range(0, 1<<40).Draw(d.T, "room"), Pos: d.pos()}
		if d.some(2, "huge") {
			m.HugeTLB = tasktree.Number{Value: 1 << 21, Pos: d.pos()}
			m.Size.Value = (m.Size.Value + 1<<21 - 1) &^ (1<<21 - 1)
		}
	}
	if d.some(2, "sealed") {
		m.Seals = d.flags("seals", unix.F_SEAL_SEAL, unix.F_SEAL_SHRINK, unix.F_SEAL_GROW, unix.F_SEAL_WRITE, unix.F_SEAL_FUTURE_WRITE)
	}
	for _, v := range []*tasktree.Text{&m.Atime, &m.Mtime} {
		if d.some(2, "timed") {
			*v = d.text(rapid.SampledFrom([]string{"2026-01-31T12:00:00Z", "0", "-1.5", "1769860800.123456789"}).Draw(d.T, "time"))
		}
	}
	return m
}

func (d *drawer) reopen(name, of string) *tasktree.OpenFile {
	r := &kind.Reopen{File: d.text(of), Flags: d.flags("of what is opened again", unix.O_APPEND, unix.O_DIRECT, unix.O_NOATIME, unix.O_NONBLOCK, unix.O_SYNC)}
	r.Flags.Bits |= rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR}).Draw(d.T, "access")
	if !strings.Contains(of, ".") && d.some(2, "at an offset") {
		r.Offset = tasktree.Number{Value: rapid.Int64Range(0, 1<<40).Draw(d.T, "offset"), Pos: d.pos()}
	}
	d.ends = append(d.ends, name)
	return &tasktree.OpenFile{Name: name, Pos: d.pos(), Spec: r}
}

func (d *drawer) number(what string, lo, hi int64) tasktree.Number {
	return tasktree.Number{Value: rapid.Int64Range(lo, hi).Draw(d.T, what), Pos: d.pos()}
}

func (d *drawer) owner() (o kind.Owner) {
	if d.some(3, "owned") {
		o.UID = d.number("user", 0, 1<<32-2)
		if d.some(2, "with a group") {
			o.GID = d.number("group", 0, 1<<32-2)
		}
	}
	return o
}

func (d *drawer) pipe() *kind.Pipe {
	p, least := &kind.Pipe{Owner: d.owner()}, int64(8192)
	if d.some(3, "packet") {
		least = 16 * 4096
		p.Packet = schema.Bool{Value: true, Pos: d.pos()}
		for range rapid.IntRange(0, 16).Draw(d.T, "packets") {
			p.Packets = append(p.Packets, d.text(rapid.StringMatching(`[a-z]{1,9}`).Draw(d.T, "packet")))
		}
	} else {
		p.Content = d.text(rapid.StringMatching(`[a-z]{0,20}`).Draw(d.T, "content"))
	}
	if d.some(3, "sized") {
		p.Capacity = d.number("capacity", least, 1<<31)
	}
	if p.Content.Value != "" && d.some(3, "read") {
		p.Front = d.number("read", 0, 4095)
	}
	if d.some(3, "mode") {
		p.Mode = d.number("mode", 0, 0o777)
	}
	if d.some(2, "flagged") {
		p.ReadEnd = d.flags("read end", unix.O_NONBLOCK, unix.O_DIRECT, unix.O_NOATIME, unix.O_ASYNC)
		p.WriteEnd = d.flags("write end", unix.O_NONBLOCK, unix.O_DIRECT, unix.O_NOATIME, unix.O_ASYNC)
	}
	return p
}

func (d *drawer) fifo() *kind.Fifo {
	p := d.pipe()
	f := &kind.Fifo{
		Path: d.text(rapid.SampledFrom([]string{"f", "/srv/f", "/srv/g"}).Draw(d.T, "path")), Capacity: p.Capacity, Content: p.Content, Packets: p.Packets, Packet: p.Packet, Front: p.Front,
		Owner: p.Owner, Mode: p.Mode, Unlinked: schema.Bool{Value: d.some(2, "unlinked"), Pos: d.pos()},
	}
	for i := range rapid.IntRange(1, 4).Draw(d.T, "ends") {
		name := fmt.Sprintf("e%d", i)
		f.Opens = append(f.Opens, kind.FifoEnd{Name: name, Access: d.text(rapid.SampledFrom([]string{"r", "w", "rw"}).Draw(d.T, "access"))})
		if d.some(2, "flagged") {
			f.EndFlags = append(f.EndFlags, kind.FifoFlags{Name: name, Flags: d.flags("of an end", unix.O_APPEND, unix.O_NONBLOCK, unix.O_DIRECT, unix.O_NOATIME), Pos: d.pos()})
		}
	}
	writes := func(e kind.FifoEnd) bool { return e.Access.Value != "r" }
	f.Hup = schema.Bool{Value: !slices.ContainsFunc(f.Opens, writes) && d.some(2, "hup"), Pos: d.pos()}
	return f
}

// pair is a pair of sockets, in whose queues anything may wait that was drawn before.
func (d *drawer) pair() *kind.Unix {
	of := rapid.SampledFrom([]string{"stream", "dgram", "seqpacket"}).Draw(d.T, "type")
	u := &kind.Unix{Pair: d.text(of)}
	for end := range u.Queue {
		u.Flags[end] = d.flags("of a socket", unix.O_APPEND, unix.O_ASYNC, unix.O_NOATIME, unix.O_NONBLOCK)
		u.Shutdown[end] = d.text(rapid.SampledFrom([]string{"none", "rd", "wr", "rdwr"}).Draw(d.T, "shut"))
		for range rapid.IntRange(0, 3).Draw(d.T, "waiting") {
			item := kind.Item{Pos: d.pos(), Data: d.text(rapid.StringMatching(`[a-z]{1,9}`).Draw(d.T, "data"))}
			for range rapid.IntRange(0, 3).Draw(d.T, "files in it") {
				if len(d.ends) > 0 {
					item.Files = append(item.Files, d.text(rapid.SampledFrom(d.ends).Draw(d.T, "file in it")))
				}
			}
			u.Queue[end] = append(u.Queue[end], item)
		}
	}
	return u
}

func (d *drawer) reg() *kind.Reg {
	r := &kind.Reg{Path: d.text(rapid.SampledFrom([]string{"/dev/null", "/dev/zero", "/etc", "x", "./x", "/srv/x", "/srv/../srv/x"}).Draw(d.T, "path"))}
	if d.some(4, "O_PATH") {
		r.Flags = d.flags("of a look", unix.O_DIRECTORY, unix.O_NOFOLLOW)
		r.Flags.Bits |= unix.O_PATH
		return r
	}
	r.Flags = d.flags("flags", unix.O_APPEND, unix.O_ASYNC, unix.O_DIRECT, unix.O_NOATIME, unix.O_NOFOLLOW, unix.O_NONBLOCK, unix.O_SYNC)
	r.Flags.Bits |= rapid.SampledFrom([]int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR}).Draw(d.T, "access")
	writable := r.Flags.Bits&unix.O_ACCMODE != unix.O_RDONLY
	makes := true
	switch {
	case d.some(4, "O_CREAT"):
		r.Flags.Bits |= unix.O_CREAT
		if d.some(3, "O_EXCL") {
			r.Flags.Bits |= unix.O_EXCL
		}
	case writable && d.some(4, "O_TMPFILE"):
		r.Flags.Bits |= unix.O_TMPFILE
	default:
		makes = false
	}
	if makes {
		if d.some(2, "filled") {
			r.Content = d.text("content")
		}
		r.Mode = tasktree.Number{Value: rapid.Int64Range(0, 0o7777).Draw(d.T, "mode"), Pos: d.pos()}
	}
	if writable && d.some(4, "O_TRUNC") {
		r.Flags.Bits |= unix.O_TRUNC
	}
	d.inode(r)
	if !strings.HasPrefix(r.Path.Value, "/dev/") && d.some(3, "at an offset") {
		r.Offset = tasktree.Number{Value: rapid.Int64Range(0, 1<<62).Draw(d.T, "offset"), Pos: d.pos()}
	}
	return r
}

// inode says more of a file that is made.
func (d *drawer) inode(r *kind.Reg) {
	if r.Flags.Bits&unix.O_PATH != 0 || !d.some(3, "inode") {
		return
	}
	tmpfile := r.Flags.Bits&unix.O_TMPFILE == unix.O_TMPFILE
	if !tmpfile && d.some(2, "unlinked") {
		d.line++
		r.Path = d.text(fmt.Sprintf("/srv/gone%d", d.line)) // each is another file
		r.Unlinked = schema.Bool{Value: true, Pos: d.pos()}
	}
	if !tmpfile && !r.Unlinked.Value && r.Flags.Bits&unix.O_CREAT == 0 {
		return
	}
	r.Owner = d.owner()
	if r.Content.Value != "" && d.some(2, "in pieces") {
		r.Content, r.Pieces = tasktree.Text{}, kind.Pieces{{Offset: 5000, Data: d.text("b")}, {Offset: 1, Data: d.text("a")}}
	}
	if d.some(2, "sized") {
		r.Size = d.number("size", 6000, 1<<40)
	}
	if d.some(2, "timed") {
		r.Mtime = d.text("1769860800.123456789")
	}
	if !tmpfile && d.some(3, "linked") {
		r.Links = append(r.Links, d.text("/srv/link"))
	}
}

func (d *drawer) task(i, highest int) *tasktree.Task {
	task := &tasktree.Task{Name: fmt.Sprintf("t%d", i), Pos: d.pos()}
	numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, highest), 0, 9, rapid.ID[int]).Draw(d.T, "fds")
	if d.some(20, "huge") {
		numbers = append(numbers, rapid.IntRange(1000, tasktree.MaxFD).Draw(d.T, "a huge number"))
	}
	for _, n := range numbers {
		task.FDs = append(task.FDs, tasktree.Descriptor{
			FD: n, Pos: d.pos(), File: d.text(rapid.SampledFrom(d.ends).Draw(d.T, "end")), Cloexec: rapid.Bool().Draw(d.T, "cloexec"),
		})
	}
	if d.some(3, "runs") {
		task.RunPos = d.pos()
		task.Run = []tasktree.Text{d.text(rapid.SampledFrom([]string{"ls", "/bin/ls", "./ls"}).Draw(d.T, "program")), d.text("")}
		task.EnvClear = rapid.Bool().Draw(d.T, "env_clear")
		if d.some(2, "env") {
			task.Env = []tasktree.EnvVar{{Name: rapid.SampledFrom([]string{"A", "PATH"}).Draw(d.T, "variable"), Value: "/x:", Pos: d.pos()}}
		}
	}
	if d.some(4, "cwd") {
		task.Cwd = d.text(rapid.SampledFrom([]string{"/tmp", "sub"}).Draw(d.T, "folder"))
	}
	return task
}

// DrawHost makes a random host: with room, or hardly any.
func DrawHost(t *rapid.T) plan.Host {
	hard := rapid.SampledFrom([]uint64{4096, 4096, 4096, 4096, 1 << 30, 64, 12, 4}).Draw(t, "hard limit")
	return plan.Host{
		SoftFiles: min(hard, rapid.SampledFrom([]uint64{1024, 1024, 4096, 256, 8}).Draw(t, "soft limit")), HardFiles: hard,
		Ignored: rapid.Uint64().Draw(t, "ignored"),
		Environ: []string{"PATH=/usr/bin:/bin"}, Cwd: rapid.SampledFrom([]string{"/", "/srv", ""}).Draw(t, "cwd"),
		OldClone: rapid.Bool().Draw(t, "clone(2)"),
	}
}

// Host is a host with room.
var Host = plan.Host{SoftFiles: 1024, HardFiles: 4096, Environ: []string{"PATH=/usr/bin:/bin"}, Cwd: "/"}

// Must ends the test if there is no plan: must(t)(planner.New(tree, host, options)).
func Must(t testing.TB) func(*plan.Plan, error) *plan.Plan {
	return func(p *plan.Plan, err error) *plan.Plan {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// DrawShares lets some tasks share the tables of others, as far as a tree of
// forks can do that.
func DrawShares(t *rapid.T, tree *tasktree.Tree) {
	all := tree.Tasks()
	if len(all) < 2 || rapid.IntRange(0, 2).Draw(t, "shares") == 0 {
		return
	}
	for _, task := range all {
		if rapid.IntRange(0, 2).Draw(t, "sharer") > 0 {
			continue
		}
		owner := rapid.SampledFrom(all).Draw(t, "owner")
		if owner == task || owner.SharesFiles.Value != "" {
			continue
		}
		fds := task.FDs
		task.SharesFiles, task.FDs = tasktree.Text{Value: owner.Name, Pos: task.Pos}, nil
		if len(tree.Check()) > 0 {
			task.SharesFiles, task.FDs = tasktree.Text{}, fds
		}
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatalf("the generator makes an invalid tree: %v", problems)
	}
}
