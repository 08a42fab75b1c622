package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/images"
	"regrow/restore"
	"regrow/test/inflight"
	"regrow/test/interrupt"
	"regrow/test/rounds"
)

var (
	regrow  string // the built binary
	skipped int
)

// roles are the helper programs of the test binary, by the environment variable that
// selects each.
var roles = []struct {
	env    string
	become func(what string, args []string) error
}{
	{sandboxEnv, sandboxed},
	{refusesEnv, refused},
	{inFlightEnv, flying},
	{pipesEnv, holdPipes},
	{usesEnv, use},
}

func TestMain(m *testing.M) {
	interrupt.Init()
	for _, r := range roles {
		if what := os.Getenv(r.env); what != "" {
			if err := r.become(what, os.Args[1:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	if err := resetIgnoredSignals(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	part, err := rounds.Part(always)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	if part != "" {
		fmt.Println(part)
	}
	os.Exit(inflight.Run(inflight.Some, func() int { return runAll(m) }))
}

// always are the tests that run with every build and on every kernel, see make
// test-builds and test/vm: a tree of each kind and attribute (TestFeatures), the
// environment of programs, random trees, and tests that need a machine of their own. The
// other tests are divided into parts.
var always = []string{
	"TestFeatures", "TestScripts", "TestProbeInside", "TestRandomTrees", "TestKilledAtAnyMoment", "TestForeignChildrenStatus",
	"TestFilesRunOut", "TestHardLimit", "TestHostileDescriptions", "TestKillStorm", "TestNothingLeaksInTheKernel",
	"TestPIDsComeAgain", "TestPIDsRunOut", "TestSmallMachine", "TestStopsWhilePulling", "TestStoreOfUnixSockets", "TestTableToNrOpen", "TestWholeTable",
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "regrow-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Ordinary users execute it, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if regrow = ready("regrow"); regrow == "" {
		regrow = filepath.Join(dir, "regrow")
		if err := build(regrow); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := atExit(dir, os.Getenv("REGROW_TEST_BUILD")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Orphans of the trees become children of this process, so that none is lost.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	status := m.Run()
	if left := children(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left behind: %v\n", left)
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		status = 1
	}
	if skipped > 0 {
		fmt.Printf("%d tests skipped for want of root or of a program, see -v\n", skipped)
	}
	return status
}

// atExit configures what some builds do at exit: -race waits a second, -cover needs a
// folder for its counters in which every user may write.
func atExit(dir, build string) error {
	if strings.Contains(build, "-race") {
		return os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if !strings.Contains(build, "-cover") {
		return nil
	}
	counters := filepath.Join(dir, "cover")
	if err := os.Mkdir(counters, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(counters, 0o777); err != nil { // whatever the umask
		return err
	}
	return os.Setenv("GOCOVERDIR", counters)
}

// ready returns the path of a program that was built beforehand, because a virtual machine
// has no compiler, or "" if the test must build it. See test/vm.
func ready(program string) string {
	if dir := os.Getenv("REGROW_TEST_PROGRAMS"); dir != "" {
		return filepath.Join(dir, program)
	}
	return ""
}

// build builds regrow.
func build(path string) error {
	// REGROW_TEST_BUILD has environment variables, and then flags of go build, quoted
	// as in GOFLAGS.
	cmd := exec.Command("go", "build", "-o", path, "../../cmd/regrow")
	env, flags := []string{}, os.Getenv("REGROW_TEST_BUILD")
	for flags != "" && !strings.HasPrefix(flags, "-") && !strings.HasPrefix(flags, "'") {
		var variable string
		variable, flags, _ = strings.Cut(flags, " ")
		env = append(env, variable)
	}
	cmd.Env = append(append(os.Environ(), env...), "GOFLAGS="+os.Getenv("GOFLAGS")+" "+flags)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// lookAtSources makes the cached result of these tests depend on regrow's sources. The go
// command caches results by the files that tests open (in tests, not in TestMain), and does
// not know that the tests build regrow.
var lookAtSources = sync.OnceValue(func() error {
	if ready("regrow") != "" {
		return nil
	}
	for _, dir := range []string{"cmd", "fdstore", "images", "internal", "restore", "tasktree", "examples", "test/scenarios"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
})

// needRoot skips a test that ordinary users cannot run, or fails it if REGROW_TEST_ROOT is
// set.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, "root")
	}
}

// need skips a test that lacks something, or fails it if REGROW_TEST_ROOT is set.
func need(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("REGROW_TEST_ROOT") == "1" {
		t.Fatalf("needs %s", what)
	}
	skipped++
	t.Skipf("needs %s", what)
}

// children lists the children of this process.
func children() []int { return childrenOf(os.Getpid()) }

func childrenOf(pid int) []int {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var pids []int
	for _, path := range threads {
		text, _ := os.ReadFile(path)
		for field := range strings.FieldsSeq(string(text)) {
			pid, _ := strconv.Atoi(field)
			pids = append(pids, pid)
		}
	}
	return pids
}

// patience is how long a test waits. It only ends a test that hangs: no result depends on
// how long something takes.
const patience = 3 * time.Minute

// result is the outcome of a run of regrow.
type result struct {
	status      int
	out, errors string
}

// run runs regrow in a process group of its own, with output to files: a held task would
// keep a pipe open.
func run(t testing.TB, args ...string) result {
	t.Helper()
	return wait(t, start(t, "", args...))
}

type running struct {
	cmd      *exec.Cmd
	out, err string
	pidfile  string
}

// start starts regrow. If shell is not empty, sh runs these commands first.
func start(t testing.TB, shell string, args ...string) *running {
	t.Helper()
	return startBy(t, exec.Command("/bin/sh", append([]string{"-c", shell + "\nexec \"$0\" \"$@\"", regrow}, args...)...), (*exec.Cmd).Start)
}

// startBy has begin start a command in a session of its own, with output to files.
func startBy(t testing.TB, cmd *exec.Cmd, begin func(*exec.Cmd) error) *running {
	t.Helper()
	if err := lookAtSources(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := &running{cmd: cmd, out: filepath.Join(dir, "out"), err: filepath.Join(dir, "err")}
	out, err := os.Create(r.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.Create(r.err)
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := begin(cmd); err != nil {
		t.Fatal(err)
	}
	return r
}

func wait(t testing.TB, r *running) result {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	defer timer.Stop()
	_ = r.cmd.Wait() // ProcessState has the status
	state := r.cmd.ProcessState
	res := result{status: state.ExitCode()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		res.status = 128 + int(ws.Signal())
	}
	out, _ := os.ReadFile(r.out)
	errs, _ := os.ReadFile(r.err)
	res.out, res.errors = string(out), string(errs)
	return res
}

// detached restores a tree with -d --json, and ends it at the end of the test.
func detached(t testing.TB, path string, flags ...string) restore.Report {
	t.Helper()
	rep := report(t, run(t, append(append([]string{"restore", "-d", "--json"}, flags...), path)...))
	t.Cleanup(func() { endTree(t) })
	if !slices.Contains(flags, "--inherit-fd") {
		verifyRight(t, path, rep)
	}
	return rep
}

// verifyRight checks that regrow verify reports no difference, if all tasks hold: programs
// may have ended.
func verifyRight(t rapid.TB, path string, rep restore.Report) {
	t.Helper()
	tree, err := images.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tree.Tasks() {
		if !task.Holds() {
			return
		}
	}
	if status, out := verify(t, path, rep.Tasks[0].HostPID); status != 0 {
		t.Errorf("verify: status %d:\n%s", status, out)
	}
}

// verify runs regrow verify.
func verify(t rapid.TB, path string, pid int, flags ...string) (status int, out string) {
	t.Helper()
	cmd := exec.Command(regrow, append(append([]string{"verify"}, flags...), path, strconv.Itoa(pid))...)
	text, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// report reads the report of a successful restore.
func report(t rapid.TB, res result) restore.Report {
	t.Helper()
	if res.status != 0 {
		t.Fatalf("status %d: %s", res.status, res.errors)
	}
	var rep restore.Report
	dec := json.NewDecoder(strings.NewReader(res.out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rep); err != nil {
		t.Fatalf("report: %v\n%s", err, res.out)
	}
	return rep
}

// endTree kills all descendants of this process and waits until they are gone. Tests do
// not run in parallel, so all descendants belong to one tree.
func endTree(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		left := children()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("left after %v: %v", patience, children())
}

// write writes a description into a new folder.
func write(t testing.TB, yaml string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tree.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
