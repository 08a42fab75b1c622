package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/tasktree"
	"regrow/test/rounds"
)

// faultCall is no system call. The filter of failCalls makes it answer what its
// last argument says, so a plan can make any of its ops fail with any errno.
const faultCall = 1023

// failCalls sets the filter for this process and all that it forks.
func failCalls() error {
	const lastArg = 16 + 5*8 // seccomp_data.args[5]
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: faultCall},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: lastArg},
		{Code: unix.BPF_ALU | unix.BPF_OR | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	_, _, e := unix.Syscall6(faultCall, 0, 0, 0, 0, 0, uintptr(unix.EXDEV))
	if e != unix.EXDEV {
		return fmt.Errorf("the filter answers %w", e)
	}
	return nil
}

// errnos are what the man pages say that the calls of a plan can answer. An OpStore makes
// no call.
var errnos = errnosIn(`
accept4: EAGAIN ECONNABORTED EINVAL EMFILE ENFILE ENOMEM EPERM
await: EINTR ENOSYS
bind: EACCES EADDRINUSE EBADF EINVAL ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR EROFS
chdir: EACCES EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR
clone3: EAGAIN EBUSY EEXIST EINVAL ENOMEM ENOSPC EPERM
close: EBADF EINTR EIO ENOSPC EDQUOT
close_range: EINVAL EMFILE ENOMEM
connect: EACCES EAGAIN ECONNREFUSED ENOENT EPROTOTYPE ETIMEDOUT
dup3: EBADF EBUSY EINTR EINVAL EMFILE ENOMEM
epoll_create1: EINVAL EMFILE ENFILE ENOMEM
epoll_ctl(EPOLL_CTL_ADD): EBADF EEXIST EINVAL ELOOP ENOMEM ENOSPC EPERM
eventfd2: EINVAL EMFILE ENFILE ENODEV ENOMEM
execve: E2BIG EACCES EAGAIN EINVAL EIO EISDIR ELIBBAD ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOEXEC ENOMEM ENOTDIR EPERM ETXTBSY
exit_group: EINTR
exit_group(child): EINTR
exit_group(helper): EINTR
faccessat: EACCES EIO ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR EROFS EISDIR
fchdir: EACCES EBADF ENOTDIR
fchmod: EBADF EIO EPERM EROFS
fchmodat: EACCES EIO ELOOP ENOENT EPERM EROFS
fchown: EBADF EINVAL EIO EPERM EROFS ENOENT
fchownat: EACCES EIO ELOOP ENOENT EPERM EROFS
fcntl(F_ADD_SEALS): EBADF EBUSY EINVAL EPERM
fcntl(F_DUPFD_CLOEXEC): EBADF EINVAL EMFILE
fcntl(F_GETFD): EBADF
fcntl(F_SETFD): EBADF
fcntl(F_SETFL): EBADF EINVAL EPERM
fcntl(F_SETOWN_EX): EBADF EFAULT EINVAL ESRCH
fcntl(F_SETPIPE_SZ): EBADF EBUSY EINVAL ENOMEM EPERM
fstat: EBADF ENOMEM EOVERFLOW
ftruncate: EFBIG EINTR EINVAL EIO EPERM EROFS
futex: EFAULT EINVAL ENOSYS
getpid: ENOSYS
getpriority: EINVAL ESRCH
getsockname: EBADF EFAULT ENOBUFS
ioctl(FIONREAD): EBADF EFAULT EINVAL ENOTTY
linkat: EACCES EEXIST EMLINK ENOENT ENOSPC EPERM EROFS EXDEV
listen: EADDRINUSE EINVAL EOPNOTSUPP
lseek: EBADF EINVAL ENXIO EOVERFLOW ESPIPE
meet: EFAULT EINVAL
memfd_create: EACCES EFAULT EINVAL EMFILE ENFILE ENODEV ENOMEM EPERM
mkdirat: EACCES EDQUOT EEXIST ELOOP EMLINK ENAMETOOLONG ENOENT ENOMEM ENOSPC ENOTDIR EPERM EROFS
mknodat: EACCES EDQUOT EEXIST ELOOP ENAMETOOLONG ENOENT ENOMEM ENOSPC ENOTDIR EPERM EROFS
mmap: EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EPERM
munmap: EINVAL ENOMEM
nanosleep: EFAULT EINVAL
openat: EACCES EBUSY EDQUOT EEXIST EINTR EIO EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT ENOMEM ENOSPC ENOTDIR ENXIO EOVERFLOW EPERM EROFS ETXTBSY EWOULDBLOCK
openat2: EACCES EAGAIN EBUSY EINTR EIO ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOMEM ENOTDIR
pidfd_open: EINVAL EMFILE ENFILE ENODEV ENOMEM ESRCH
pipe2: EINVAL EMFILE ENFILE ENOMEM
ppoll: EFAULT EINTR EINVAL ENOMEM
prctl: EINVAL EPERM EFAULT
prctl(PR_SET_MM_MAP): EACCES EFAULT EPERM
prctl(PR_SET_PDEATHSIG): EINVAL
prlimit64: EFAULT EINVAL EPERM
pwrite64: EBADF EFBIG EINTR EIO ENOMEM ENOSPC EPERM
read: EAGAIN EBADF EINTR EIO
recvmsg: EBADF ECONNREFUSED EMFILE ENOBUFS ENOMEM ENOTSOCK
recvmsg(answer): EBADF ECONNREFUSED EINVAL EMFILE ENOMEM ENOTSOCK ETIMEDOUT
rt_sigaction: EFAULT EINVAL
rt_sigprocmask: EFAULT EINVAL
rt_sigqueueinfo: EAGAIN EINVAL EPERM ESRCH
sendmsg: EAGAIN EBADF ECONNREFUSED EMSGSIZE ENOBUFS ENOMEM ETOOMANYREFS
set_robust_list: EINVAL ENOSYS
setpriority: EACCES EPERM ESRCH
setsid: EPERM
setsockopt(SO_ATTACH_FILTER): EFAULT EINVAL ENOMEM EPERM
setsockopt(SO_LINGER): EFAULT EINVAL
setsockopt(SO_LOCK_FILTER): EINVAL EPERM
setsockopt(SO_PASSCRED): EINVAL ENOPROTOOPT EOPNOTSUPP
setsockopt(SO_RCVBUF): EINVAL
setsockopt(SO_RCVBUFFORCE): EINVAL EPERM
setsockopt(SO_RCVTIMEO): EBADF EDOM EFAULT EINVAL ENOPROTOOPT ENOTSOCK
setsockopt(SO_SNDBUF): EINVAL
setsockopt(SO_SNDBUFFORCE): EINVAL EPERM
shutdown: EBADF EINVAL ENOTCONN ENOTSOCK
sigaltstack: EFAULT EINVAL ENOMEM
signalfd4: EINVAL EMFILE ENFILE ENODEV ENOMEM
socket: EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM
socketpair: EAFNOSUPPORT EMFILE ENFILE EOPNOTSUPP EPROTONOSUPPORT
store: EFAULT
unlinkat: EACCES EBUSY EIO ENOENT EPERM EROFS
unshare: EMFILE ENOMEM EPERM
utimensat: EACCES EBADF EFAULT EINVAL EPERM EROFS
wait4(child): ECHILD EINVAL
wait4(helper): ECHILD EINVAL
waitid: ECHILD EINTR EINVAL
write: EAGAIN EBADF EFBIG EINTR EIO ENOMEM ENOSPC EPIPE
`)

// errnosIn reads lines of calls and the names of their errnos.
func errnosIn(table string) map[string][]unix.Errno {
	byName := map[string]unix.Errno{}
	for e := unix.Errno(1); e < 200; e++ {
		byName[unix.ErrnoName(e)] = e
	}
	byName["EWOULDBLOCK"], byName["EOPNOTSUPP"] = unix.EWOULDBLOCK, unix.EOPNOTSUPP
	calls := map[string][]unix.Errno{}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		call, names, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for name := range strings.FieldsSeq(names) {
			e, known := byName[name]
			if !known {
				panic("no errno is called " + name)
			}
			calls[call] = append(calls[call], e)
		}
	}
	return calls
}

// withFault gives a copy of the plan in which one op fails. Names and notes stay:
// the message must be that of the op.
func withFault(p *plan.Plan, task, i int, errno unix.Errno) *plan.Plan {
	q := *p
	q.Tasks, q.Benches = slices.Clone(p.Tasks), slices.Clone(p.Benches)
	prog := programOf(&q, task)
	prog.Ops, prog.Notes = slices.Clone(prog.Ops), slices.Clone(prog.Notes)
	op, note := &prog.Ops[i], &prog.Notes[i]
	x := p.Extras[note.Extra]
	if x.Name == "" {
		x.Name = words.OpName(op)
	}
	q.Extras = append(slices.Clone(p.Extras), x)
	note.Extra = int32(len(q.Extras) - 1)
	op.Kind, op.Nr, op.Flags = program.OpCall, faultCall, 0
	op.Args[5] = uint64(errno)
	q.Faulty = true
	return &q
}

// Programs beside those of tasks, which go by their index. Those of benches go by numbers
// down from firstBench.
const (
	prepares   = -1
	commits    = -2
	firstBench = -3
)

// programOf gives the program with a number.
func programOf(p *plan.Plan, n int) *program.Program {
	switch {
	case n == prepares:
		return &p.Prepare
	case n == commits:
		return &p.Commit
	case n <= firstBench:
		return &p.Benches[firstBench-n].Program
	}
	return &p.Tasks[n]
}

// snapshot is what of a failed restore could be left.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b bytes.Buffer
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err2 := os.Stat(path)
		var text []byte
		if e.Type().IsRegular() {
			text, err = os.ReadFile(path)
		}
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %v %q\n", e.Name(), info.Mode(), text)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			fmt.Fprintf(&b, "fd %s %s\n", fd.Name(), link)
		}
	}
	for _, line := range mounts(t) {
		if !slices.Contains(mountsAtFirst(t), line) {
			fmt.Fprintf(&b, "mount %s\n", line)
		}
	}
	fmt.Fprintf(&b, "children %v\n", proc.OwnChildren())
	return b.String()
}

// mounts are the lines of /proc/self/mountinfo. Without a mount namespace of its
// own this process could not mount anything, and sees what others do.
func mounts(t testing.TB) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// mountsAtFirst are those of before the first restore. Fewer may be left, in a
// namespace of its own, too: where somebody removes a folder, what is mounted on it
// in other namespaces goes with it.
func mountsAtFirst(t testing.TB) []string {
	t.Helper()
	if firstMounts == nil {
		firstMounts = mounts(t)
	}
	return firstMounts
}

var firstMounts []string

const faultsEnv = "REGROW_TEST_FAULTS"

// faultStepEnv says that only one fault in so many is tried, the seed says which:
// an emulated processor takes minutes for all of them.
const faultStepEnv = "REGROW_TEST_FAULT_STEP"

// TestEveryOpFails makes every op of plans that use every op and every kind fail
// once, with each errno that its call can answer. It runs in a process of its
// own, since the filter cannot be taken off.
func TestEveryOpFails(t *testing.T) {
	// Read here, too: go test has to know what a result depends on.
	step := 1
	if rounds.Now(t) == rounds.Few {
		step = 5
	}
	all := faults{step: max(rounds.Number(t, faultStepEnv, step), 1), seed: rounds.Seed(t)}
	if os.Getenv(faultsEnv) == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, self, "-test.run=^TestEveryOpFails$", "-test.v")
		cmd.Env = append(os.Environ(), faultsEnv+"=1", "GOCOVERDIR="+t.TempDir())
		// Not a pipe: a task that is left would keep it open.
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		if os.Geteuid() == 0 {
			// What other tests mount meanwhile is none of its business.
			cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
		}
		runErr := cmd.Run()
		text, _ := os.ReadFile(out.Name())
		if runErr != nil || !strings.Contains(string(text), "--- PASS") {
			t.Fatalf("%v\n%s", runErr, text)
		}
		t.Logf("%s", text)
		return
	}
	if err := failCalls(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	here.Ignored |= 1 << (unix.SIGUSR1 - 1) // one rt_sigaction at least
	t.Run("plain", func(t *testing.T) { all.everyOp(t, here, plan.Options{Detach: true}) })
	t.Run("service", func(t *testing.T) { all.everyOp(t, here, plan.Options{Strategy: plan.StrategyService}) })
	t.Run("helpers", func(t *testing.T) { all.everyOp(t, here, plan.Options{Help: 1}) })
	t.Run("inherit", func(t *testing.T) { all.everyOp(t, here, plan.Options{Strategy: plan.StrategyInherit}) })
	late := here
	late.SoftFiles = 8 // the limit comes last
	t.Run("late limit", func(t *testing.T) { all.everyOp(t, late, plan.Options{}) })
	if os.Geteuid() == 0 {
		t.Run("namespace", func(t *testing.T) { all.everyOp(t, here, plan.Options{}, tasktree.NamespacePID) })
	}
	both := []tasktree.Namespace{tasktree.NamespaceUser, tasktree.NamespacePID}
	if err := host.ThisKernel.Clone(here, both); err != nil && os.Geteuid() != 0 {
		t.Logf("skipped: user namespaces: %v", err)
	} else {
		t.Run("user", func(t *testing.T) { all.everyOp(t, here, plan.Options{}, both...) })
	}
	t.Logf("%d of %d faults in %d calls", all.tried, all.n, len(all.calls))
	for _, name := range slices.Sorted(maps.Keys(errnos)) {
		if !all.calls[name] {
			t.Errorf("no plan has the call %s", name)
		}
	}
	kinds := map[program.OpKind]bool{}
	for k := range all.kinds {
		kinds[k] = true
	}
	for _, k := range program.Kinds() {
		if !kinds[k] && k != program.OpCall && k != program.OpPair {
			t.Errorf("no plan has the op %s", k.Row().Name)
		}
	}
}

type faults struct {
	step, seed int

	n     int // in all
	tried int
	calls map[string]bool
	kinds map[program.OpKind]bool
}

func (f *faults) everyOp(t *testing.T, here plan.Host, o plan.Options, namespaces ...tasktree.Namespace) {
	dir := t.TempDir()
	p, err := planner.New(plantest.Reference(t, dir, namespaces...), here, o)
	if err != nil {
		t.Fatal(err)
	}
	// First without a fault: else the faults would prove nothing. It cuts a
	// file, so the files are made anew.
	for range 2 { // the second time the poller and what else Go opens is there
		tree, err := startNow(t.Context(), p, Options{Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		tree.Abort()
		_ = plantest.Reference(t, dir, namespaces...)
	}
	before := snapshot(t, dir)
	if f.calls == nil {
		f.calls, f.kinds = map[string]bool{}, map[program.OpKind]bool{}
	}
	var programs []int
	for n := firstBench + 1 - len(p.Benches); n < len(p.Tasks); n++ {
		programs = append(programs, n)
	}
	for _, task := range programs {
		prog := programOf(p, task)
		// A task that is counted as ready only waits, and nobody waits for what it does
		// once it is counted as holding: nothing there can fail.
		released, counted := false, false
		for i := range prog.Ops {
			op, note := &prog.Ops[i], prog.Notes[i]
			name := p.Extras[note.Extra].Name
			if name == "" {
				name = words.OpName(op)
			}
			f.calls[name], f.kinds[op.Kind] = true, true
			if len(errnos[name]) == 0 && !counted {
				t.Errorf("no errno is known for the call %s", name)
			}
			for _, errno := range errnos[name] {
				if unix.Errno(op.Allow) == errno || counted {
					continue
				}
				f.n++
				if (f.n+f.seed)%f.step != 0 {
					continue
				}
				f.tried++
				f.one(t, p, fault{task: task, op: i, call: name, errno: errno, released: released}, dir, before)
				if t.Failed() {
					return
				}
			}
			released = released || op.Kind == program.OpGate
			countsItself := note.Effect == program.EffectCounts && op.Args[4] < p.Arena.Base+program.HeadSize
			counted = countsItself || counted && op.Kind != program.OpGate
		}
	}
}

type fault struct {
	task, op int
	call     string
	errno    unix.Errno
	released bool // files are cut by then
}

func (f *faults) one(t *testing.T, p *plan.Plan, x fault, dir, before string) {
	t.Helper()
	what := fmt.Sprintf("task %d, op %d, %s answers %s", x.task, x.op, x.call, unix.ErrnoName(x.errno))
	tree, err := startNow(t.Context(), withFault(p, x.task, x.op, x.errno), Options{Timeout: patience})
	if err == nil {
		tree.Abort()
		t.Fatalf("%s: the restore went well", what)
	}
	e, ok := errors.AsType[*plan.OpError](err)
	if x.call == "faccessat" && x.errno == unix.EISDIR {
		x.errno = unix.EACCES // what execve answers for a folder
	}
	if !ok || !errors.Is(err, x.errno) {
		t.Fatalf("%s: got %v", what, err)
	}
	prog := programOf(p, x.task)
	task, born := "", x.task >= 0
	if whose, ok := prog.Notes[x.op].For(&prog.Ops[x.op]); ok {
		task, born = p.Tree.Tasks()[whose].Name, whose == x.task
	} else if x.task >= 0 {
		task = p.Tree.Tasks()[x.task].Name
	} else if file, verb := prog.Notes[x.op].File, prog.Notes[x.op].Verb; (verb == program.VerbMake || verb == program.VerbBench) && !p.Tree.Files[file].Shared() && len(p.Tree.Files[file].Uses) > 0 {
		task = p.Tree.Files[file].Uses[0].Task.Name
	}
	note := prog.Notes[x.op]
	if e.Pos.Line != int(note.Line) || e.Pos.Line == 0 || e.Task != task || born && e.PID == 0 {
		t.Errorf("%s: line %d of task %q with pid %d: %v", what, e.Pos.Line, e.Task, e.PID, err)
	}
	words := []string{x.call, x.errno.Error(), fmt.Sprintf("tree.yaml:%d:1: restore: ", note.Line)}
	if note.Verb == program.VerbInstall {
		words = append(words, fmt.Sprintf("install fd %d from file", note.FD))
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: no %q in %v", what, word, err)
		}
	}
	after := snapshot(t, dir)
	if x.released {
		// The commit point was passed: what O_TRUNC cut stays so.
		after = strings.Replace(after, `cut -rw-r----- ""`, `cut -rw-r----- "to be cut"`, 1)
		_ = os.WriteFile(filepath.Join(dir, "cut"), []byte("to be cut"), 0o640)
	}
	if after != before {
		t.Errorf("%s: left behind, before:\n%s\nafter:\n%s", what, before, after)
	}
}
