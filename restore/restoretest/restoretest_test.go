package restoretest_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/restore"
	"regrow/restore/restoretest"
)

const family = `
version: 1
files: {p: {type: pipe, content: job}}
tasks: [{name: parent, fds: {7: p.w}, children: [{name: child, fds: {7: p.r, 9: p.w}}, {name: sleeper, run: [sleep, "1000"]}]}]
`

// Example tests a program that reads /proc: it finds the processes that have a file open.
func Example() {
	tree, err := restoretest.New(family)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := tree.Close(); err != nil {
			fmt.Println(err)
		}
	}()
	pipe, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/7", tree.PID("parent")))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"parent", "child", "sleeper"} {
		fmt.Println(name, holders(tree.PID(name), pipe))
	}
	// Output:
	// parent [7]
	// child [7 9]
	// sleeper []
}

// holders is the program under test. It returns the descriptors of a process that are
// that file.
func holders(pid int, link string) (numbers []int) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name())); err == nil && got == link {
			n, _ := strconv.Atoi(e.Name())
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func gone(t *testing.T, pid int) bool {
	t.Helper()
	return errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// TestEndsWithTheTest checks that nothing of a tree outlives its test, including processes
// that its programs have left.
func TestEndsWithTheTest(t *testing.T) {
	for _, strategy := range restore.Strategies() {
		var pids []int
		t.Run(strategy.String(), func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			tree := restoretest.Start(t, `
version: 1
files: {out: {type: inherit, key: out}}
tasks: [{name: a, run: [sh, -c, '(sleep 1000 & echo $! >&5) & wait; sleep 1000'], fds: {5: out}, children: [{name: b}]}]`,
				restoretest.Inherit("out", w), restoretest.Plan(restore.PlanOptions{Strategy: strategy}))
			w.Close()
			line, err := bufio.NewReader(r).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			daemon, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatal(err)
			}
			pids = []int{tree.PID("a"), tree.PID("b"), daemon}
			if tree.PID("nobody") != 0 || len(tree.Report().Tasks) != 2 {
				t.Errorf("wrong pids: %+v", tree.Report())
			}
			for _, pid := range pids {
				if gone(t, pid) {
					t.Errorf("pid %d is not alive", pid)
				}
			}
		})
		for _, pid := range pids {
			if !gone(t, pid) {
				t.Errorf("%v: pid %d is left", strategy, pid)
			}
		}
	}
}

// TestSeveral checks several trees at a time, next to other children of the test.
func TestSeveral(t *testing.T) {
	own := exec.Command("sleep", "1000")
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := own.Process.Signal(unix.Signal(0)); err != nil {
			t.Errorf("another child of the test: %v", err)
		}
		_ = own.Process.Kill()
		_ = own.Wait()
	}()
	a, b := restoretest.Start(t, family), restoretest.Start(t, family)
	if a.PID("child") == b.PID("child") {
		t.Error("both trees have the same child")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if !gone(t, a.PID("child")) || gone(t, b.PID("child")) {
		t.Error("the wrong tree has ended")
	}
}

// TestRefused checks that the error of an invalid description has its position, and that
// nothing is left.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\ntasks: [{name: a, fds: {0: nosuch}}]\n":                                     "description:2:28",
		"version: 1\ntasks: [{name: a, run: [/nonexistent]}]\n":                                  "no such file or directory",
		"version: 1\nfiles: {f: {type: inherit, key: gone}}\ntasks: [{name: a, fds: {0: f}}]\n":  `"gone"`,
		"version: 1\nfiles: {f: {type: inherit, key: stdin}}\ntasks: [{name: a, fds: {0: f}}]\n": "stdin",
	} {
		if tree, err := restoretest.New(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %s", text, tree, err, want)
		}
	}
}

// TestLarge restores a description of several hundred KiB, with a program that writes to
// standard output of the test.
func TestLarge(t *testing.T) {
	text := "version: 1\nfiles: {out: {type: inherit, key: stdout}}\ntasks:\n- name: root\n  run: [sh, -c, 'exit 0']\n  fds: {1: out}\n  children:\n"
	for i := range 700 {
		text += fmt.Sprintf("  - {name: task-%0240d}\n", i)
	}
	tree := restoretest.Start(t, text)
	if got := len(tree.Report().Tasks); got != 701 {
		t.Errorf("%d tasks", got)
	}
}

// TestInterrupted sends the signals of Ctrl-C and others to the second process: the tree
// still ends with the test, and not before.
func TestInterrupted(t *testing.T) {
	tree := restoretest.Start(t, "version: 1\ntasks: [{name: a, children: [{name: b}]}]\n")
	parent, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tree.PID("a")))
	if err != nil {
		t.Fatal(err)
	}
	second, err := strconv.Atoi(strings.Fields(string(parent[bytes.LastIndexByte(parent, ')')+1:]))[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE} {
		if err := unix.Kill(second, sig); err != nil {
			t.Fatal(err)
		}
	}
	if gone(t, second) || gone(t, tree.PID("a")) {
		t.Error("the tree has ended before the test")
	}
}

// TestKilledTest kills a test that has a tree: the tree ends, too.
func TestKilledTest(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestHasATree$")
	cmd.Env = append(os.Environ(), "RESTORETEST_HAS_A_TREE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(out)
	for len(pids) < 3 && lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	for _, pid := range pids {
		for deadline := time.Now().Add(time.Minute); !gone(t, pid); {
			if time.Now().After(deadline) {
				t.Fatalf("pid %d is left", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if len(pids) != 3 {
		t.Errorf("the killed test had the tasks %v", pids)
	}
}

func TestHasATree(t *testing.T) {
	if os.Getenv("RESTORETEST_HAS_A_TREE") == "" {
		return // only TestKilledTest starts it
	}
	tree := restoretest.Start(t, family)
	for _, name := range []string{"parent", "child", "sleeper"} {
		fmt.Println(tree.PID(name))
	}
	select {}
}
