package restoretest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"regrow/internal/proc"
	"regrow/restore"
)

// patience is how long the end of a tree may take. It is only there to end a test
// that hangs.
const patience = 3 * time.Minute

// Option is something that a tree is given.
type Option func(*order)

// Inherit gives the tree an open file of the test's, by the key of an inherit, or by the
// name of the open file in whose place it comes. The test may close it after Start.
func Inherit(key string, f *os.File) Option {
	return func(o *order) {
		o.Keys = append(o.Keys, key)
		o.files = append(o.files, f)
	}
}

// Plan says how the tree is planned; Inherit and Detach in it are not looked at.
func Plan(p restore.PlanOptions) Option {
	return func(o *order) { o.Strategy, o.Naive, o.ServiceFD = p.Strategy, p.Naive, p.ServiceFD }
}

// Tree is a tree that runs.
type Tree struct {
	report restore.Report
	pids   map[string]proc.ID
	cmd    *exec.Cmd
	hold   io.Closer // the tree ends with it
	errors *bytes.Buffer
	ended  bool
}

// Start restores a description and ends the tree when the test has ended. Relative
// paths start at the current folder. A description or a host that does not allow it
// ends the test with what [images.Decode] or [restore.Start] say.
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

// New is Start where there is no test: in examples, and in TestMain. The caller ends the
// tree with [Tree.Close].
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
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	tree := &Tree{pids: map[string]proc.ID{}, cmd: exec.Command(self), errors: &bytes.Buffer{}}
	tree.cmd.Env = append(os.Environ(), orderEnv+"="+string(text))
	tree.cmd.ExtraFiles = o.files
	tree.cmd.Stderr = tree.errors
	hold, err := tree.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	tree.hold = hold
	out, err := tree.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// A task without a standard error of its own would keep ours open.
	tree.cmd.WaitDelay = patience
	if err := tree.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(out).Decode(&tree.report); err != nil {
		err = tree.stop()
		if said := strings.TrimSpace(tree.errors.String()); said != "" {
			err = errors.New(said)
		}
		return nil, err
	}
	for _, task := range tree.report.Tasks {
		if id, err := proc.Of(task.HostPID); err == nil {
			tree.pids[task.Name] = id
		}
	}
	return tree, nil
}

// PID gives the number of a task as the test sees it, 0 if there is none of that name or
// if it had ended when the tree was released.
func (t *Tree) PID(task string) int { return t.pids[task].PID }

// Report says what was restored.
func (t *Tree) Report() restore.Report { return t.report }

// Close ends the tree, once: an error says that it could not be ended, or that
// something of it is left.
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

// stop lets the second process end, which ends the tree.
func (t *Tree) stop() error {
	stuck := time.AfterFunc(patience, func() { _ = t.cmd.Process.Kill() }) // it may have ended
	defer stuck.Stop()
	_ = t.hold.Close() // a pipe, to which nothing was written
	if err := t.cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, t.errors.String())
	}
	return nil
}
