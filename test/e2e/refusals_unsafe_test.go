package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusesEnv is the variable that makes the test binary run another program under a
// seccomp filter: "NR ARG ERRNO" refuses a call if its first argument is ARG (-1: any).
const refusesEnv = "REGROW_TEST_REFUSES"

// refused executes args under the filter. It returns only with an error.
func refused(what string, args []string) error {
	var nr, arg, errno int
	if _, err := fmt.Sscan(what, &nr, &arg, &errno); err != nil {
		return err
	}
	runtime.LockOSThread()
	const firstArg = 16 // seccomp_data.args[0], the low half
	compare := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(arg)}
	if arg < 0 {
		compare = unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA}
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: uint32(nr)},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: firstArg},
		compare,
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return unix.Exec(args[0], args, os.Environ())
}

// refuses returns shell words that run the following command with a call refused.
func refuses(t *testing.T, nr, arg int, errno unix.Errno) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("export %s='%d %d %d'; set -- %q /usr/bin/env -u %s \"$0\" \"$@\"; exec \"$@\"", refusesEnv, nr, arg, errno, self, refusesEnv)
}

// nobodyElse returns a user that no other run of these tests uses: the kernel counts the
// processes of a user.
func nobodyElse() int { return 30000 + os.Getpid()%30000 }

// TestCallersRefused starts regrow in environments where it cannot work: the message must
// give the exact reason, and nothing may be left.
func TestCallersRefused(t *testing.T) {
	needRoot(t)
	path := write(t, heldTree)
	for _, c := range []struct {
		name, shell  string
		status       int // in the foreground
		detachStatus int
		want         []string
	}{
		{
			"no /proc", `exec unshare --mount sh -c 'umount -l /proc; exec "$0" "$@"' "$0" "$@"`, 3, 3,
			[]string{"tree.yaml:4:11: host: ", "/proc is needed", "mount it"},
		},
		{
			"/proc of another pid namespace", `exec unshare --pid --fork "$0" "$@"`, 3, 3,
			[]string{"tree.yaml:4:11: host: ", "/proc belongs to another pid namespace", "unshare --mount-proc"},
		},
		{
			"prctl(PR_SET_MM) refused", refuses(t, unix.SYS_PRCTL, unix.PR_SET_MM, unix.EPERM), 3, 3,
			[]string{"tree.yaml:", "host: task ", "a sandbox (a seccomp filter) refuses prctl(PR_SET_MM)", "give every task a program (run): operation not permitted"},
		},
		{
			"prctl(PR_SET_NAME) refused", refuses(t, unix.SYS_PRCTL, unix.PR_SET_NAME, unix.EACCES), 3, 3,
			[]string{"tree.yaml:", "host: task ", "a sandbox (a seccomp filter) refuses prctl(PR_SET_NAME)", "permission denied"},
		},
		{
			"prctl(PR_SET_CHILD_SUBREAPER) refused", refuses(t, unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, unix.EPERM), 3, 3,
			[]string{"tree.yaml:4:11: host: ", "a sandbox (a seccomp filter) refuses prctl(PR_SET_CHILD_SUBREAPER)", "operation not permitted"},
		},
		{
			"prctl(PR_GET_CHILD_SUBREAPER) refused", refuses(t, unix.SYS_PRCTL, unix.PR_GET_CHILD_SUBREAPER, unix.ENOSYS), 3, 3,
			[]string{"tree.yaml:4:11: host: ", "a sandbox (a seccomp filter) refuses prctl(PR_GET_CHILD_SUBREAPER)", "function not implemented"},
		},
		{
			"set_robust_list refused", refuses(t, unix.SYS_SET_ROBUST_LIST, -1, unix.EPERM), 3, 3,
			[]string{"tree.yaml:4:11: host: ", "a sandbox (a seccomp filter) refuses set_robust_list", "tasks learn that regrow was killed", "operation not permitted"},
		},
		{
			"get_robust_list refused", refuses(t, unix.SYS_GET_ROBUST_LIST, -1, unix.ENOSYS), 3, 3,
			[]string{"tree.yaml:4:11: host: ", "a sandbox (a seccomp filter) refuses get_robust_list", "function not implemented"},
		},
		{
			"Unix sockets refused", refuses(t, unix.SYS_SOCKET, unix.AF_UNIX, unix.EAFNOSUPPORT), 3, 3,
			[]string{"tree.yaml:4:11: host: ", "a sandbox (a seccomp filter) refuses Unix sockets", "--strategy inherit", "address family not supported by protocol"},
		},
		{
			"close_range missing", refuses(t, unix.SYS_CLOSE_RANGE, -1, unix.ENOSYS), 3, 3,
			[]string{"tree.yaml", "host: ", "close_range is missing (Linux 5.9)"},
		},
		{
			"no more processes", fmt.Sprintf(`exec setpriv --reuid %d --regid 61236 --clear-groups bash -c 'ulimit -u 40; exec "$0" "$@"' "$0" "$@"`, nobodyElse()), 125, 1,
			[]string{"tree.yaml", "restore: task ", "fork: clone3: resource temporarily unavailable (RLIMIT_NPROC"},
		},
		{
			// No process is left for a thread either, and the Go runtime needs many.
			"no more processes, many processors", fmt.Sprintf(`exec setpriv --reuid %d --regid 61236 --clear-groups bash -c 'ulimit -u 150; export GOMAXPROCS=16 GOGC=1; exec "$0" "$@"' "$0" "$@"`, nobodyElse()), 125, 1,
			[]string{"tree.yaml", "restore: task ", "fork: clone3: resource temporarily unavailable (RLIMIT_NPROC"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := path
			if strings.Contains(c.shell, "setpriv") {
				if err := os.Chmod(filepath.Dir(regrow), 0o755); err != nil {
					t.Fatal(err)
				}
				file = filepath.Join(openFolder(t), "tree.yaml")
				children := ""
				for i := range 300 {
					children += fmt.Sprintf("      - {name: t%d}\n", i)
				}
				if err := os.WriteFile(file, []byte("version: 1\ntasks:\n  - name: root\n    children:\n"+children), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, args := range [][]string{{"restore", file}, {"restore", "-d", file}, {"check", "--host", file}} {
				want := c.status
				switch {
				case args[0] == "check" && (c.status != 3 || strings.HasPrefix(c.name, "Unix sockets")):
					continue // not detected beforehand, or only with one strategy
				case args[1] == "-d":
					want = c.detachStatus
				}
				res := wait(t, start(t, c.shell, args...))
				if res.status != want {
					t.Errorf("%v: status %d, want %d", args, res.status, want)
				}
				for _, w := range c.want {
					if !strings.Contains(res.errors, w) {
						t.Errorf("%v: no %q in the message: %s", args, w, res.errors)
					}
				}
				noDescendants(t)
			}
		})
	}
}

// TestHardlyAnyProcess has limits with which the Go runtime barely starts. A small tree
// must be restored, or refused without leaving a file; the runtime must never end regrow.
func TestHardlyAnyProcess(t *testing.T) {
	needRoot(t)
	if err := os.Chmod(filepath.Dir(regrow), 0o755); err != nil {
		t.Fatal(err)
	}
	folder := openFolder(t)
	made := filepath.Join(folder, "made")
	file := filepath.Join(folder, "tree.yaml")
	yaml := fmt.Sprintf("version: 1\nfiles: {made: {type: reg, path: %s, flags: [O_RDWR, O_CREAT], mode: '0600'}}\ntasks: [{name: a, fds: {3: made}, run: [sh, -c, 'exit 7']}]\n", made)
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	restored, refused := 0, 0
	for limit := 9; limit < 40; limit++ {
		shell := fmt.Sprintf(`exec setpriv --reuid %d --regid 61236 --clear-groups bash -c 'ulimit -u %d; exec "$0" "$@"' "$0" "$@"`, nobodyElse(), limit)
		res := wait(t, start(t, shell, "restore", file))
		_, err := os.Stat(made)
		switch {
		case res.status == 7 && err == nil:
			restored++
		case (res.status == 3 || res.status == 125) && os.IsNotExist(err) && strings.Contains(res.errors, "tree.yaml:3:") && strings.Contains(res.errors, "RLIMIT_NPROC"):
			refused++
		default:
			t.Errorf("limit %d: status %d, the file: %v: %s", limit, res.status, err, res.errors)
		}
		_ = os.Remove(made)
		noDescendants(t)
	}
	if restored < 10 {
		t.Errorf("%d restored, %d refused", restored, refused)
	}
}

// TestStoppedCaller stops the process that has started regrow: regrow must not wait for
// it.
func TestStoppedCaller(t *testing.T) {
	r := start(t, `"$0" "$@" & kill -STOP $$; wait; exit`, "restore", "-d", "--json", write(t, heldTree))
	within(t, "the report of a regrow whose caller is stopped", func() bool { return strings.HasSuffix(r.output(), "}\n") })
	if !stopped(r.cmd.Process.Pid) {
		t.Error("the caller is not stopped")
	}
	r.signal(t, unix.SIGCONT)
	_ = report(t, wait(t, r))
	endTree(t)
}

// TestTimeoutEndsWithRelease has a timeout that ends after release: it must not affect the
// tree. On a slow machine the test repeats with a longer timeout.
func TestTimeoutEndsWithRelease(t *testing.T) {
	goOn := filepath.Join(t.TempDir(), "go-on")
	path := write(t, "version: 1\nfiles: {n: {type: reg, path: /dev/null, flags: [O_RDWR]}}\ntasks: [{name: a, fds: {0: n, 1: n, 2: n}, run: [sh, -c, 'until test -e "+goOn+"; do sleep 0.02; done; exit 7'], children: [{name: b}]}]\n")
	for limit := time.Second; limit < patience; limit *= 2 {
		r := start(t, "", "restore", "--json", "--timeout", limit.String(), path)
		time.Sleep(limit + 200*time.Millisecond)
		if err := os.WriteFile(goOn, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		res := wait(t, r)
		noDescendants(t)
		if res.status == 125 && strings.Contains(res.errors, "timed out before release, after "+limit.String()) {
			t.Log(res.errors)
			if err := os.Remove(goOn); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if res.status != 7 || res.errors != "" {
			t.Errorf("status %d, want 7: %s", res.status, res.errors)
		}
		return
	}
	t.Error("no tree was released in time")
}

// TestTimeoutOfStoppedTask stops a task other than the root before it is ready.
func TestTimeoutOfStoppedTask(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\ntasks:\n  - name: root\n    children:\n")
	for i := range 800 {
		fmt.Fprintf(&b, "      - {name: t%d}\n", i)
	}
	stopInTime(t, write(t, b.String()), nil, 125, "of 801 tasks are not ready", func(pid int) int {
		if root := childrenOf(pid); len(root) == 1 {
			if all := childrenOf(root[0]); len(all) > 0 {
				return all[len(all)-1]
			}
		}
		return 0
	})
}

// stopInTime restores with a timeout and stops the process that find returns, as soon as
// there is one: the restore must fail with a status and a message. It tries again if the
// process was ready before the stop, and with a longer timeout if the machine was too slow.
func stopInTime(t *testing.T, path string, flags []string, status int, message string, find func(regrow int) int) {
	t.Helper()
	limit := time.Second
	for try := range 60 {
		r := start(t, "", slices.Concat([]string{"restore", "--log-level", "info", "--timeout", limit.String()}, flags, []string{path})...)
		ended := make(chan result, 1)
		go func() { ended <- wait(t, r) }()
		victim, released := 0, false
		var res result
		for over := false; !over; {
			select {
			case res = <-ended:
				over = true
				continue
			default:
			}
			switch {
			case victim == 0:
				if victim = find(r.cmd.Process.Pid); victim != 0 {
					_ = unix.Kill(victim, unix.SIGSTOP)
				}
			case !released && r.logged("regrow: info: released: "): // it was ready before the stop
				released = true
				_ = unix.Kill(victim, unix.SIGCONT)
				_ = r.cmd.Process.Signal(unix.SIGTERM)
			default:
				time.Sleep(time.Millisecond)
			}
		}
		late := "timed out before release, after " + limit.String()
		switch {
		case released || res.status == 0:
			endTree(t)
			continue
		case strings.Contains(res.errors, late) && victim == 0:
			limit = min(2*limit, patience)
			continue
		case res.status != status || !strings.Contains(res.errors, late) || !strings.Contains(res.errors, message):
			t.Errorf("try %d: status %d: %s", try, res.status, res.errors)
		}
		noDescendants(t)
		return
	}
	t.Error("no task could be stopped in time")
}
