package postfork

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
)

// putMounts tells a head where a procfs is, as the runner does.
func putMounts(a *Arena, procs safepath.Procs) {
	h := a.Head()
	copy(h.FDFolder[:], program.FDFolder)
	h.NProcDevs = 0
	table := a.Bytes()[program.ProcMounts:program.ProcMountsEnd]
	clear(table)
	for _, m := range procs {
		if h.NProcDevs < program.MaxProcDevs {
			h.ProcDevs[h.NProcDevs] = m.Dev
		}
		h.NProcDevs++
		next := program.ProcMountSize + (len(m.Point)+7)&^7
		program.PutProcMount(table, program.ProcMount{Dev: m.Dev, Next: uint32(next), Len: uint16(len(m.Point)), Part: uint16(m.Part)}, m.Point)
		table = table[next:]
	}
}

// TestSameRules compares what a task says of a file of a procfs with what the runner
// says of it.
func TestSameRules(t *testing.T) {
	a, h, priv := head(t)
	w := (*work)(unsafe.Add(priv, program.PrivWork))
	part := rapid.StringMatching(`[0-9]{0,2}|self|sys|irq|srv`)
	path := rapid.Custom(func(t *rapid.T) string {
		p := ""
		for _, s := range rapid.SliceOfN(part, 0, 4).Draw(t, "parts") {
			p += "/" + s
		}
		return p
	})
	mount := rapid.Custom(func(t *rapid.T) safepath.Proc {
		return safepath.Proc{
			Dev: rapid.Uint64Range(20, 23).Draw(t, "dev"), Point: path.Draw(t, "point"),
			Part: rapid.SampledFrom([]safepath.Part{safepath.Whole, safepath.Own, safepath.Common}).Draw(t, "part"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		// Few, or more than Head has room for.
		n := rapid.SampledFrom([]int{0, 1, 2, 3, program.MaxProcDevs + 2}).Draw(t, "mounts")
		procs := safepath.Procs(rapid.SliceOfN(mount, n, n).Draw(t, "procs"))
		putMounts(a, procs)
		dev, file, link := rapid.Uint64Range(20, 23).Draw(t, "dev"), path.Draw(t, "file"), rapid.Bool().Draw(t, "link")
		if got, want := onProc(h, dev), procs.Has(dev); got != want {
			t.Fatalf("a task takes the device %d for a procfs: %v, the runner: %v", dev, got, want)
		}
		if onProc(h, unix.Mkdev(8, uint32(dev))) {
			t.Fatal("a task takes a disk for a procfs")
		}
		w.stat.Dev, w.stat.Mode = dev, syscall.S_IFREG
		if link {
			w.stat.Mode = syscall.S_IFLNK
		}
		w.got, w.errno = int64(copy(w.to[:], file)), 0
		ofProcess(h, w)
		want := syscall.Errno(0)
		if procs.Another(dev, file, link) {
			want = program.ReasonProcess
		}
		if w.errno != want {
			t.Fatalf("a task says %d, the runner %d", w.errno, want)
		}
	})
}

// paths has what the ops of paths need: an arena with strings and a struct open_how.
type paths struct {
	*Arena
	t    *testing.T
	priv unsafe.Pointer
	next uint64
}

func newPaths(t *testing.T) *paths {
	a, _, priv := head(t)
	procs, err := safepath.ReadProcs()
	if err != nil {
		t.Fatal(err)
	}
	putMounts(a, procs)
	return &paths{Arena: a, t: t, priv: priv, next: program.HeadSize}
}

// put gives the address of a copy of words or of a string.
func (p *paths) put(v any) uint64 {
	p.next = (p.next + 7) &^ 7
	addr := p.next
	switch v := v.(type) {
	case string:
		p.next += uint64(copy(p.Bytes()[addr:], v+"\x00"))
	case []uint64:
		for _, word := range v {
			*(*uint64)(unsafe.Pointer(&p.Bytes()[p.next])) = word
			p.next += 8
		}
	}
	return p.Base + addr
}

func (p *paths) how(flags uint64) uint64 { return p.put([]uint64{flags, 0, safepath.Resolve}) }

// do does an op, and demands that it leaves nothing open.
func (p *paths) do(op program.Op) syscall.Errno {
	p.t.Helper()
	before := lowestFree(p.t)
	a := op.Args
	e := sequence(p.Head(), p.priv, &op, &a)
	if after := lowestFree(p.t); after != before {
		p.t.Errorf("op %d leaves descriptor %d open", op.Kind, before)
	}
	return e
}

func lowestFree(t *testing.T) int64 {
	t.Helper()
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return int64(fd)
}

// openPath opens a path as a mere place, until the test ends.
func openPath(t *testing.T, path string, flags int) uint64 {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return uint64(fd)
}

func TestRefuse(t *testing.T) {
	p := newPaths(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sockets[0])
	defer unix.Close(sockets[1])
	const aFIFO, aSocket = 1, 2 // recipe.TypeFIFO, TypeSocket
	for _, c := range []struct {
		name  string
		fd    uint64
		types uint64
		want  syscall.Errno
	}{
		{"FIFO", openPath(t, fifo, 0), aFIFO | aSocket, program.ReasonFIFO},
		{"socket", uint64(sockets[0]), aFIFO | aSocket, program.ReasonSocket},
		{"FIFO where sockets are refused", openPath(t, fifo, 0), aSocket, 0},
		{"socket where FIFOs are refused", uint64(sockets[0]), aFIFO, 0},
		{"device", openPath(t, "/dev/null", 0), aFIFO | aSocket, 0},
		{"nothing", 1 << 20, aFIFO, unix.EBADF},
		{"terminal", openPath(t, "/dev/tty", 0), 0, program.ReasonTerminal},
		{"process", openPath(t, "/proc/self/status", 0), 0, program.ReasonProcess},
		{"process's folder", openPath(t, "/proc/self", 0), 0, program.ReasonProcess},
		{"link", openPath(t, "/proc/self", unix.O_NOFOLLOW), 0, program.ReasonProcess},
		{"network", openPath(t, "/proc/net/dev", 0), 0, program.ReasonProcess},
		{"procfs", openPath(t, "/proc", 0), 0, 0},
		{"system", openPath(t, "/proc/uptime", 0), 0, 0},
		{"parameter", openPath(t, "/proc/sys/kernel/pid_max", 0), 0, 0},
	} {
		if got := p.do(program.Op{Kind: program.OpRefuse, Args: [6]uint64{c.fd, c.types}}); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestWay(t *testing.T) {
	p := newPaths(t)
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/proc/self/cwd", link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]syscall.Errno{
		dir:               0,
		"/proc":           0,
		"/proc/self":      program.ReasonProcess,
		link:              unix.ELOOP,
		link + "/..":      unix.ELOOP,
		dir + "/missing":  unix.ENOENT,
		"/etc/passwd":     unix.ENOTDIR,
		"/proc/self/task": program.ReasonProcess,
	} {
		args := [6]uint64{p.put(path), p.how(unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC)}
		if got := p.do(program.Op{Kind: program.OpWay, Args: args}); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	p := newPaths(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		candidates []string
		found      int // -1: none
		want       syscall.Errno
	}{
		{"only one", []string{script}, 0, 0},
		{"second", []string{dir + "/missing", script}, 1, 0},
		{"behind what is none", []string{plain, dir, "/dev/null", script, "/bin/true"}, 3, 0},
		{"missing", []string{dir + "/missing", plain + "/below"}, -1, unix.ENOENT},
		{"no right", []string{plain, dir + "/missing"}, -1, unix.EACCES},
		{"folder", []string{dir}, -1, unix.EISDIR},
		{"device", []string{dir + "/missing", "/dev/null"}, -1, program.ReasonSpecial},
		{"magic link", []string{"/proc/self/exe"}, -1, unix.ELOOP},
		{"behind a magic link", []string{"/proc/self/exe", script}, 1, 0},
		{"process's own", []string{"/proc/self/status"}, -1, program.ReasonProcess},
	} {
		var addrs []uint64
		for _, path := range c.candidates {
			addrs = append(addrs, p.put(path))
		}
		cell := p.put([]uint64{0})
		op := program.Op{Kind: program.OpFind, Args: [6]uint64{p.put(addrs), uint64(len(addrs)), cell, 0, p.how(unix.O_PATH | unix.O_CLOEXEC)}}
		for range 2 { // the second time it is known
			got := p.do(op)
			found := *(*uint64)(at(p.Head(), cell))
			want := uint64(0)
			if c.found >= 0 {
				want = addrs[c.found]
			}
			if got != c.want || found != want {
				t.Errorf("%s: %d, found %#x, want %d, %#x", c.name, got, found, c.want, want)
			}
		}
	}
}

// TestReopenAt holds that a file is opened a second time only if it is still the same,
// and which flags it then has.
func TestReopenAt(t *testing.T) {
	p := newPaths(t)
	dir := t.TempDir()
	file, other, link := filepath.Join(dir, "file"), filepath.Join(dir, "other"), filepath.Join(dir, "link")
	for _, path := range []string{file, other} {
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const flags = unix.O_RDONLY | unix.O_APPEND | unix.O_NOFOLLOW | unix.O_CLOEXEC
	for _, c := range []struct {
		path  string
		looks string
		flags program.OpFlags
		want  syscall.Errno
	}{
		{file, file, 0, 0},
		{file, file, program.FlagNonblock, 0},
		{file, other, 0, program.ReasonChanged},
		{fifo, file, 0, program.ReasonChanged}, // and does not block
		{link, file, 0, unix.ELOOP},
		{dir + "/missing", file, 0, unix.ENOENT},
	} {
		look := openPath(t, c.looks, 0)
		args := [6]uint64{p.put(c.path), p.how(flags | unix.O_NONBLOCK), look, p.put(fmt.Sprintf("/proc/self/fd/%d", look))}
		a := args
		op := program.Op{Kind: program.OpReopenAt, Flags: c.flags, Args: args}
		got := sequence(p.Head(), p.priv, &op, &a)
		w := (*work)(unsafe.Add(p.priv, program.PrivWork))
		fd := w.got
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.path, got, c.want)
		}
		if c.want == program.ReasonChanged { // the task ends
			_ = unix.Close(int(w.fd))
		}
		if got != 0 {
			continue
		}
		has, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		want := flags &^ unix.O_CLOEXEC
		if c.flags&program.FlagNonblock != 0 {
			want |= unix.O_NONBLOCK
		}
		if has &= unix.O_NOFOLLOW | unix.O_APPEND | unix.O_NONBLOCK; err != nil || has != want {
			t.Errorf("%s has the flags %#o, want %#o: %v", c.path, has, want, err)
		}
		_ = unix.Close(int(fd))
	}
}
