package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sandboxEnv is the variable that makes the test binary run another program under a
// seccomp filter like that of container runtimes: clone3 fails with this errno.
const sandboxEnv = "REGROW_TEST_SANDBOX"

// withoutUser after the errno makes the filter refuse new user namespaces, too, as
// Docker's does without CAP_SYS_ADMIN.
const withoutUser = ", no user namespaces"

// openat2Instead after the errno makes the filter refuse openat2 instead of clone3.
const openat2Instead = ", openat2"

// sandboxed executes args under the filter. It returns only with an error.
func sandboxed(errno string, args []string) error {
	errno, user := strings.CutSuffix(errno, withoutUser)
	errno, openat2 := strings.CutSuffix(errno, openat2Instead)
	number, err := strconv.Atoi(errno)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_CLONE3},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(number)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if openat2 {
		filter[1].K = unix.SYS_OPENAT2
	}
	if user {
		const flags = 16 // seccomp_data.args[0]
		filter = append(filter[:3:3],
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.SYS_CLONE},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: flags},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jf: 1, K: unix.CLONE_NEWUSER},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			filter[3])
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

// inSandbox returns shell words that run the following command in the sandbox.
func inSandbox(t *testing.T, errno unix.Errno, more ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("export %s='%d%s'; set -- %q /usr/bin/env -u %s \"$0\" \"$@\"; exec \"$@\"", sandboxEnv, errno, strings.Join(more, ""), self, sandboxEnv)
}

// static builds regrow without a C library.
func static(t *testing.T) string {
	t.Helper()
	if path := ready("regrow"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "regrow")
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/regrow")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// TestWithoutClone3 restores trees where a sandbox refuses clone3: clone(2) must make the
// tasks, and only exact pids are refused.
func TestWithoutClone3(t *testing.T) {
	needRoot(t)
	// glibc falls back to clone only for ENOSYS: with any other errno a regrow that is
	// linked with glibc cannot even make a thread.
	defer func(built string) { regrow = built }(regrow)
	regrow = static(t)
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			for _, name := range []string{"swap", "dense", "prefork"} {
				path := "../../examples/" + name + ".yaml"
				// Signals that the caller ignores are inherited through clone(2)
				// and must be reset, see prove.
				rep := report(t, wait(t, start(t, "trap '' HUP USR1; "+inSandbox(t, errno), "restore", "-d", "--json", path)))
				for _, p := range prove(wantOf(t, path), rep) {
					t.Errorf("%s: %s", name, p)
				}
				endTree(t)
			}
			plain := write(t, "version: 1\nnamespaces: [pid]\ntasks: [{name: a, pid: 1, run: [sh, -c, 'exit 7'], children: [{name: b}]}]\n")
			if res := wait(t, start(t, inSandbox(t, errno), "restore", plain)); res.status != 7 {
				t.Errorf("a namespace with the kernel's pids: status %d, want 7: %s", res.status, res.errors)
			}
			exact := write(t, "version: 1\nnamespaces: [pid]\ntasks: [{name: a, children: [{name: b, pid: 9}]}]\n")
			res := wait(t, start(t, inSandbox(t, errno), "restore", exact))
			if res.status != 3 || !strings.Contains(res.errors, "an exact pid needs clone3") {
				t.Errorf("exact pids: status %d, want 3: %s", res.status, res.errors)
			}
			noDescendants(t)
		})
	}
}
