package restoretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"regrow/internal/proc"
	"regrow/restore"
)

// patience is how long the end of a tree may take. It only ends a test that hangs.
const patience = 3 * time.Minute

// Option is an option of [Start] and [New].
type Option func(*order)

// Inherit passes an open file of the test to the tree, by the key of an inherit, or by the
// name of the open file that it replaces. The test may close the file after Start.
func Inherit(key string, f *os.File) Option {
	return func(o *order) {
		o.Keys = append(o.Keys, key)
		o.files = append(o.files, f)
	}
}

// Plan sets the options of the plan. Its Inherit and Detach are ignored.
func Plan(p restore.PlanOptions) Option {
	return func(o *order) { o.Strategy, o.Naive, o.ServiceFD = p.Strategy, p.Naive, p.ServiceFD }
}

// Tree is a running tree.
type Tree struct {
	report restore.Report
	pids   map[string]proc.ID
	cmd    *exec.Cmd
	hold   io.Closer // the tree ends when it is closed
	ended  bool
}

// Start restores a description, and ends the tree when the test has ended. Relative paths
// start at the current folder. If the description is invalid or the host cannot restore it,
// the test fails with the error of [images.Decode] or [restore.Start].
func Start(t testing.TB, description string, options ...Option) *Tree {
	t.Helper()
	tree, err := New(description, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// New is like Start, but without a test: for examples and TestMain. The caller must call
// [Tree.Close].
func New(description string, options ...Option) (*Tree, error) {
	o := order{Description: description}
	for _, option := range options {
		option(&o)
	}
	tree, err := start(o)
	if err != nil {
		return nil, fmt.Errorf("restoretest: %w", err)
	}
	return tree, nil
}

func start(o order) (*Tree, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	tree := &Tree{pids: map[string]proc.ID{}, cmd: exec.Command(self)}
	tree.cmd.Env = append(os.Environ(), secondEnv+"=1")
	tree.cmd.ExtraFiles = append([]*os.File{w}, o.files...)
	tree.cmd.Stdout, tree.cmd.Stderr = os.Stdout, os.Stderr
	// Ctrl-C sends a signal to the process group of the test. The second process needs a
	// group of its own: it ends after the test.
	tree.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := tree.cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	tree.hold = hold
	err = tree.cmd.Start()
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	// The second process reads the order before it answers.
	err = json.NewEncoder(hold).Encode(o)
	var said answer
	if err == nil {
		err = json.NewDecoder(r).Decode(&said)
	}
	if err == nil && said.Error != "" {
		err = errors.New(said.Error)
	}
	if err != nil {
		stopErr := tree.stop()
		if said.Error != "" {
			return nil, err
		}
		return nil, errors.Join(err, stopErr)
	}
	tree.report = said.Report
	tree.report.Unseen = said.Unseen
	for _, task := range tree.report.Tasks {
		if id, err := proc.Of(task.HostPID); err == nil {
			tree.pids[task.Name] = id
		}
	}
	return tree, nil
}

// PID returns the pid of a task as the test sees it. It is 0 if there is no task of that name,
// or if the task had ended when the tree was released.
func (t *Tree) PID(task string) int { return t.pids[task].PID }

// Report returns the report of the restore.
func (t *Tree) Report() restore.Report { return t.report }

// Close ends the tree. It returns an error if it could not end the tree, or if something of
// the tree is left. A second call does nothing. Only one goroutine may call it.
func (t *Tree) Close() error {
	if t.ended {
		return nil
	}
	t.ended = true
	if err := t.stop(); err != nil {
		return fmt.Errorf("restoretest: end the tree: %w", err)
	}
	var left []string
	for name, id := range t.pids {
		if id.Exists() {
			left = append(left, fmt.Sprintf("task %q (pid %d)", name, id.PID))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("restoretest: left behind: %s", strings.Join(left, ", "))
	}
	return nil
}

// stop ends the second process, which ends the tree.
func (t *Tree) stop() error {
	stuck := time.AfterFunc(patience, func() { _ = t.cmd.Process.Kill() }) // may have ended already
	defer stuck.Stop()
	_ = t.hold.Close() // a pipe, whose reader may be gone
	return t.cmd.Wait()
}
