package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/test/interrupt"
)

// interruptible are the calls of a restore that a signal can interrupt, on some kernel or
// some file system, before they have any effect.
var interruptible = []uint32{
	unix.SYS_SETSOCKOPT, unix.SYS_RECVMSG, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_PPOLL, unix.SYS_CONNECT, unix.SYS_BIND,
	unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_CHDIR,
	unix.SYS_READLINKAT, unix.SYS_GETDENTS64, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD, unix.SYS_UNLINKAT,
	unix.SYS_WAIT4, unix.SYS_WAITID, unix.SYS_EPOLL_PWAIT,
}

// interrupted runs regrow with its calls interrupted, and calls then while it still
// interrupts them. The tree must have ended when then returns.
func interrupted(t *testing.T, calls []uint32, then func(res result), args ...string) interrupt.Report {
	t.Helper()
	var p *interrupt.Program
	r := startBy(t, exec.Command(regrow, args...), func(cmd *exec.Cmd) (err error) {
		p, err = interrupt.Start(cmd, calls...)
		return err
	})
	then(wait(t, r))
	endTree(t)
	rep := p.Stop()
	for _, wrong := range rep.Wrong {
		t.Error(wrong)
	}
	t.Log(rep)
	return rep
}

// interruptedTree is a tree whose restore makes every interruptible call.
func interruptedTree(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cut"), []byte("to be cut"), 0o644); err != nil {
		t.Fatal(err)
	}
	return write(t, strings.ReplaceAll(`version: 1
files:
  made: {type: reg, path: DIR/made, flags: [O_CREAT, O_RDWR], content: made}
  cut: {type: reg, path: DIR/cut, flags: [O_WRONLY, O_TRUNC]}
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
  own: {type: reg, path: /dev/zero}
  p: {type: pipe, content: jobs, capacity: 8192}
  q: {type: pipe, content: own}
`+more+`tasks:
  - name: root
    fds: {0: p.r, 1: p.w, 5: cut, 9: null}
    children:
      - {name: first, fds: {3: made, 4: p.w, 7: own, 0: q.r, 1: q.w}, cwd: DIR}
      - {name: second, fds: {0: null, 1: made, 2: p.r, 8: cut}}
      - {name: third, shares: {files: second}}
`, "DIR", dir))
}

// TestInterruptedCalls interrupts each call of a restore once: the tree must still be
// right.
func TestInterruptedCalls(t *testing.T) {
	always := []uint32{unix.SYS_OPENAT, unix.SYS_FSTAT, unix.SYS_CHDIR, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FCHMOD}
	for strategy, its := range map[string][]uint32{
		"fdstore": {unix.SYS_SETSOCKOPT, unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_CONNECT, unix.SYS_BIND},
		"service": {unix.SYS_SETSOCKOPT, unix.SYS_RECVMSG, unix.SYS_SENDMSG},
		"inherit": nil,
	} {
		t.Run(strategy, func(t *testing.T) {
			path := interruptedTree(t, "")
			rep := interrupted(t, interruptible, func(res result) {
				for _, p := range prove(wantOf(t, path), report(t, res)) {
					t.Error(p)
				}
			}, "restore", "-d", "--json", "--strategy", strategy, path)
			for _, nr := range append(always, its...) {
				if rep.Interrupted[nr] == 0 {
					t.Errorf("call %d was never interrupted", nr)
				}
			}
		})
	}
}

// TestInterruptedPrograms does the same with tasks that look up their programs
// themselves. Go does not repeat an exec, so a strategy that starts a process is not
// tested.
func TestInterruptedPrograms(t *testing.T) {
	for name, namespaces := range map[string]string{"plain": "", "namespaces": "namespaces: [user, pid]\n"} {
		t.Run(name, func(t *testing.T) {
			if namespaces != "" {
				needRoot(t) // others may be refused user namespaces
			}
			path := interruptedTree(t, namespaces)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(string(text)+"      - {name: program, run: [sleep, 1000]}\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			rep := interrupted(t, append([]uint32{unix.SYS_EXECVE}, interruptible...), func(res result) {
				tasks := report(t, res).Tasks
				// The report may come while the kernel still sets up the program.
				var args []byte
				within(t, "sleep runs", func() bool {
					args, _ = os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", tasks[len(tasks)-1].HostPID))
					return len(args) > 0
				})
				if string(args) != "sleep\x001000\x00" {
					t.Errorf("the program is %q", args)
				}
			}, "restore", "-d", "--json", path)
			for _, nr := range []uint32{unix.SYS_EXECVE, unix.SYS_NEWFSTATAT, unix.SYS_SETSOCKOPT} {
				if rep.Interrupted[nr] == 0 {
					t.Errorf("call %d was never interrupted", nr)
				}
			}
		})
	}
}

// TestInterruptedConflicts does the same with naive plans, whose tasks poll before they
// wait for an answer of the service.
func TestInterruptedConflicts(t *testing.T) {
	path := write(t, swapped)
	rep := interrupted(t, interruptible, func(res result) {
		var l lab
		if err := json.Unmarshal([]byte(res.out), &l); err != nil || len(l.Forms) == 0 {
			t.Fatalf("status %d, %v: %s%s", res.status, err, res.out, res.errors)
		}
		for _, f := range l.Forms {
			if len(f.Disagree) > 0 {
				t.Errorf("%s, naive %v: prediction and reality disagree: %q", f.Strategy, f.Naive, f.Disagree)
			}
		}
	}, "conflicts", "--naive", "--run", "--json", path)
	for _, nr := range []uint32{unix.SYS_RECVFROM, unix.SYS_PPOLL} {
		if rep.Interrupted[nr] == 0 {
			t.Errorf("call %d was never interrupted", nr)
		}
	}
}
