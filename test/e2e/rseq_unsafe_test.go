package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// rseqOf asks the kernel what a thread has registered with rseq(2): the address of the
// area, 0 if there is none. PTRACE_GET_RSEQ_CONFIGURATION, since Linux 5.13; up to 6.2
// it gives a size in any case.
func rseqOf(t *testing.T, tid int) (area uint64) {
	t.Helper()
	const ptraceGetRseqConfiguration = 0x420f
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(tid); err != nil {
		t.Fatalf("PTRACE_SEIZE of %d: %v", tid, err)
	}
	defer func() {
		if err := unix.PtraceDetach(tid); err != nil {
			t.Errorf("PTRACE_DETACH of %d: %v", tid, err)
		}
	}()
	if err := unix.PtraceInterrupt(tid); err != nil {
		t.Fatalf("PTRACE_INTERRUPT of %d: %v", tid, err)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(tid, &status, unix.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			t.Fatalf("wait4 of %d: %v", tid, err)
		}
	}
	if !status.Stopped() {
		t.Fatalf("%d has not stopped: %#x", tid, status)
	}
	var configuration struct {
		area                   uint64
		size, signature, flags uint32
		_                      uint32
	}
	_, _, e := unix.Syscall6(unix.SYS_PTRACE, ptraceGetRseqConfiguration, uintptr(tid), unsafe.Sizeof(configuration), uintptr(unsafe.Pointer(&configuration)), 0, 0)
	if e != 0 {
		t.Fatalf("PTRACE_GET_RSEQ_CONFIGURATION of %d: %v", tid, e)
	}
	return configuration.area
}

// TestRseq holds that a task has nothing registered with rseq(2) and none of the C
// library's memory, whether regrow itself has or not; where it cannot be found what is
// registered, tasks keep both and the log says so.
func TestRseq(t *testing.T) {
	if olderThan(t, "5.13") {
		t.Skip("the kernel does not tell what is registered")
	}
	type build struct {
		name string
		env  string
		args []string
		has  bool // a C library that registers
		kept bool // and that does not tell where
	}
	builds := []build{{name: "as the other tests"}}
	if ready("regrow") == "" {
		static := "-linkmode external -extldflags -static"
		builds = append(builds,
			build{name: "cgo", env: "CGO_ENABLED=1", has: true},
			build{name: "cgo, static", env: "CGO_ENABLED=1", args: []string{"-tags=netgo,osusergo", "-ldflags=" + static}, has: true},
			build{name: "cgo, static, stripped", env: "CGO_ENABLED=1", args: []string{"-tags=netgo,osusergo", "-ldflags=-s " + static}, has: true, kept: true},
			build{name: "pie without cgo", env: "CGO_ENABLED=0", args: []string{"-buildmode=pie"}, has: true},
		)
	}
	path := write(t, "version: 1\ntasks: [{name: root, children: [{name: child}]}]\n")
	defer func(built string) { regrow = built }(regrow)
	given := regrow
	drawn := rounds.Draw(t, len(builds), 2, 1)
	for i, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			drawn.Need(t, i)
			regrow = given
			if b.env != "" {
				if _, err := exec.LookPath("gcc"); err != nil && b.env == "CGO_ENABLED=1" {
					need(t, "gcc")
				}
				regrow = filepath.Join(t.TempDir(), "regrow")
				cmd := exec.Command("go", append(append([]string{"build", "-o", regrow}, b.args...), "../../cmd/regrow")...)
				cmd.Env = append(os.Environ(), b.env)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			r := start(t, "", "restore", "--json", "--log-level", "debug", path)
			defer func() { _ = wait(t, r) }()
			for deadline := time.Now().Add(patience); !strings.HasSuffix(r.output(), "}\n"); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("not released: %s", r.output())
				}
			}
			rep := report(t, result{out: r.output()})
			defer func() { _ = unix.Kill(rep.Tasks[0].HostPID, unix.SIGKILL) }()
			if has := hasRseq(t, r.cmd.Process.Pid); b.env != "" && has != b.has {
				t.Fatalf("regrow itself has something registered: %v, want %v", has, b.has)
			}
			log, err := os.ReadFile(r.err)
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Contains(string(log), "tasks keep the C library's thread-local memory"); said != b.kept {
				t.Errorf("the log says that it is kept: %v, want %v:\n%s", said, b.kept, log)
			}
			for _, task := range rep.Tasks {
				if area := rseqOf(t, task.HostPID); area != 0 != b.kept {
					t.Errorf("task %s has an area at %#x", task.Name, area)
				}
			}
			for _, task := range rep.Tasks {
				survive(t, task.HostPID)
			}
		})
	}
}

// hasRseq reports whether a thread of a process has something registered.
func hasRseq(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		if rseqOf(t, tid) != 0 {
			return true
		}
	}
	return false
}

// survive lets a task return from the kernel, which then writes to what it has
// registered: the task ends if that is not there.
func survive(t *testing.T, pid int) {
	t.Helper()
	for range 10 {
		_ = rseqOf(t, pid) // interrupts what it waits in
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	if _, state, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(state, "S") && !strings.HasPrefix(state, "R") {
		t.Errorf("the task is gone: %s", text)
	}
}

// TestMainThread restores on the main thread of a position-independent program without
// cgo. What the dynamic linker has registered for it lies where nobody tells, so a task
// that the thread has cloned would end as soon as it is preempted.
func TestMainThread(t *testing.T) {
	if ready("regrow") != "" {
		t.Skip("there is no compiler")
	}
	program := filepath.Join(t.TempDir(), "mainthread")
	cmd := exec.Command("go", "build", "-buildmode=pie", "-o", program, "./testdata/mainthread")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	path := write(t, "version: 1\ntasks: [{name: root, children: [{name: a}, {name: b, children: [{name: c}]}]}]\n")
	for range 5 {
		if res := wait(t, startBy(t, exec.Command(program, path), (*exec.Cmd).Start)); res.status != 0 {
			t.Fatalf("status %d: %s", res.status, res.errors)
		}
	}
}
