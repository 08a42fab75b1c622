package e2e

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// tracer runs regrow under ptrace(2), with all its threads, and stops at each of their
// system calls. Processes that regrow forks are not traced. All methods must be called by
// one goroutine that is locked to its thread.
type tracer struct {
	t   *testing.T
	cmd *exec.Cmd

	seen map[int]bool // threads that have stopped at least once
}

// callStop is a stop of a thread at the entry or exit of a system call.
type callStop struct {
	tid   int
	entry bool
	nr    uint64    // of an entry
	args  [6]uint64 // of an entry
}

// runTraced starts regrow and calls at for each entry and exit of a call, until at returns
// that regrow must be killed, or regrow has ended. It returns when regrow is gone.
func runTraced(t *testing.T, at func(callStop) (kill bool), args ...string) (killed bool, out string) {
	t.Helper()
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file, err := os.CreateTemp(t.TempDir(), "out") // not a pipe: a remaining task would keep it open
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(regrow, args...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Ptrace: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	tr := &tracer{t: t, cmd: cmd, seen: map[int]bool{}}
	killed = tr.follow(at)
	text, _ := os.ReadFile(file.Name())
	return killed, string(text)
}

// follow resumes the threads from stop to stop until regrow is gone.
func (tr *tracer) follow(at func(callStop) bool) (killed bool) {
	pid := tr.cmd.Process.Pid
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-pid, &status, unix.WALL, nil) // its group: threads, and orphans that have ended
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			tr.t.Fatalf("wait4: %v", err)
		case tid == pid && (status.Exited() || status.Signaled()):
			_ = tr.cmd.Process.Release()
			return killed
		case !status.Stopped():
			continue
		}
		signal := 0
		first := !tr.seen[tid]
		tr.seen[tid] = true
		switch sig := status.StopSignal(); {
		case first && tid == pid: // the exec
			const all = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
			if err := unix.PtraceSetOptions(tid, all); err != nil {
				tr.t.Fatalf("PTRACE_SETOPTIONS: %v", err)
			}
		case first && sig == unix.SIGSTOP: // a new thread
		case sig == unix.SIGTRAP|0x80:
			if s, ok := tr.look(tid); ok && !killed && at(s) {
				killed = true
				_ = tr.cmd.Process.Kill()
			}
		case sig == unix.SIGTRAP && status.TrapCause() > 0: // a clone
		default:
			signal = int(sig)
		}
		_ = unix.PtraceSyscall(tid, signal) // ESRCH: the thread was killed
	}
}

// look returns the call of a stopped thread: PTRACE_GET_SYSCALL_INFO, since Linux 5.3.
func (tr *tracer) look(tid int) (callStop, bool) {
	var info struct {
		op        uint8
		_         [3]uint8
		_         uint32 // arch
		_, _      uint64 // instruction and stack pointer
		nr        uint64
		arguments [6]uint64
		_         [4]uint64
	}
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	entry := info.op == unix.PTRACE_SYSCALL_INFO_ENTRY
	return callStop{tid: tid, entry: entry, nr: info.nr, args: info.arguments}, e == 0 && (entry || info.op == unix.PTRACE_SYSCALL_INFO_EXIT)
}

// givingBack waits until the thread that owns the gate resets its robust list, and kills
// regrow some stops of that thread later, or earlier if after is negative.
type givingBack struct {
	after int

	owner int // thread that owns the gate, or has owned it
	gave  bool
	past  int // stops since it reset the list
}

func (g *givingBack) at(s callStop) bool {
	// The gate is at the start of a plan's memory, whose address nothing else uses, see
	// program.DefaultBase.
	const base, headSize = 0x2010_0000, 1 << 16
	if s.entry && s.nr == unix.SYS_SET_ROBUST_LIST {
		if low := s.args[0] & (1<<32 - 1); low >= base && low < base+headSize {
			g.owner = s.tid
			return false
		}
		g.gave = g.gave || s.tid == g.owner
	}
	if !g.gave || s.tid != g.owner {
		return false
	}
	g.past++
	return g.past > g.after
}

// fourTasks is a tree of four tasks with shared files and a shared table.
const fourTasks = `version: 1
files:
  a: {type: reg, path: /dev/null}
  b: {type: pipe, content: x}
tasks:
  - name: first
    fds: {1: a, 0: b.r}
    children:
      - name: second
        fds: {0: a, 1: b.r}
        children: [{name: third, fds: {5: b.w}}]
      - {name: fourth, shares: {files: second}}
`

// TestKilledGivingBack kills regrow at each call of the restoring thread from the reset of
// the gate's robust list on. By then the tree must know that it is over, because the kernel
// no longer reports regrow's death. The trees are those that are ended when all tasks are
// ready.
func TestKilledGivingBack(t *testing.T) {
	path, broken := write(t, fourTasks), write(t, swapped)
	twice := write(t, fourTasks+"caller: {restores: 2}\nexpect: {fdstore: holds, service: holds, inherit: holds, naive fdstore: breaks, naive service: breaks, naive inherit: breaks}\n")
	moments := rounds.Of(t, "", 8, 40) // regrow makes some 360 calls from then on
	if os.Getenv("REGROW_TEST_VM") == "1" {
		moments = 3 // a round takes seconds there: before, at and after the call
	}
	for _, args := range [][]string{
		{"conflicts", "--run", "--strategy", "fdstore", path},
		{"conflicts", "--run", "--strategy", "service", path},
		{"conflicts", "--run", "--strategy", "inherit", path},
		{"restore", "--naive", "--strategy", "fdstore", broken}, // fails before the commit
		{"conflicts", "--check", "--as-caller=0", twice},        // another tree lives beside it
	} {
		t.Run(strings.Join(args[:len(args)-1], " "), func(t *testing.T) {
			for after := range moments {
				g := &givingBack{after: after}
				killed, out := runTraced(t, g.at, args...)
				if !g.gave {
					t.Fatalf("the reset of the robust list was not seen:\n%s", out)
				}
				noneLeft(t, "killed at stop %d", after)
				if t.Failed() {
					return
				}
				if !killed {
					t.Fatalf("regrow has ended before stop %d:\n%s", after, out)
				}
			}
		})
	}
}
