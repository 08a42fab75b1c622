package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"regrow/restore"
	"regrow/restore/parts"
	"regrow/tasktree"
)

// restoreFlags are the flags of regrow restore.
type restoreFlags struct {
	detach   bool
	json     bool
	pidfile  pathFlag
	timeout  timeFlag
	logLevel levelFlag
	trace    pathFlag
	inherit  inheritFlag
	strategy strategyFlags
}

func newRestore() *cobra.Command {
	f := restoreFlags{logLevel: levelFlag(logrus.WarnLevel)}
	cmd := &cobra.Command{
		Use:   "restore TREE.yaml",
		Short: "Restore the tree and stay with it until it ends",
		Long: `Restore the tree and stay until its root task ends; regrow then exits with the
root's status (128+N for signal N). regrow forwards TERM, HUP, USR1 and USR2 to
the root, and INT, QUIT and WINCH unless the terminal has sent them to the tree
itself. A TERM that comes 1 to 10 s after another TERM ends the tree by SIGKILL.

Exit status: the root's, or 2 for an invalid description, 3 if the kernel or
the privileges lack something, 125 if the restore failed after it had begun,
126 or 127 if it failed because a program cannot be executed or does not exist
(with --detach: 0 when restored, 1 for a failure).`,
		Example: `  regrow restore examples/pipeline.yaml
  regrow restore --detach --json --pidfile /run/tree.pid tree.yaml`,
		Args:              treeArg,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
		ValidArgsFunction: yamlFile,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.detach, "detach", "d", false, "return as soon as every task is restored; the tree lives on")
	flags.BoolVar(&f.json, "json", false, "print a report as one JSON object at release")
	flags.Var(&f.pidfile, "pidfile", "write the root's host pid to F at release; removed when a foreground tree ends")
	flags.Var(&f.timeout, "timeout", "fail if the tree is not released within D (such as 10s; 0: never)")
	flags.Var(&f.logLevel, "log-level", "how much to log on standard error: "+strings.Join(levels(), ", "))
	flags.Var(&f.trace, "trace", "write a timeline of every task to F, as Chrome trace events")
	f.strategy.add(cmd)
	f.inherit.add(cmd)
	completeFlags(cmd, map[string][]string{"log-level": levels(), "timeout": nil})
	return cmd
}

func (f *restoreFlags) run(cmd *cobra.Command, path string) error {
	began := time.Now()
	if needsStandIn() {
		if f.detach && os.Getpid() == 1 {
			return &exitError{exitHost, fmt.Errorf("restore: host: %s", parts.EndsWithInit)}
		}
		return f.standIn()
	}
	if err := f.inherit.checkOpen(); err != nil {
		return err
	}
	if err := f.refuseOverwriting(path); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(cmd.ErrOrStderr())
	log.SetFormatter(plainFormat{})
	log.SetLevel(logrus.Level(f.logLevel))
	signals := catch()
	defer signals.stop()
	ctx, done := signals.untilRelease(context.Background())
	plan, err := f.planWithin(ctx, cmd, path, log)
	if err != nil {
		return err
	}
	pidfile, err := openPIDFile(string(f.pidfile))
	if err != nil {
		return f.failed(err)
	}
	defer pidfile.close()
	tree, err := f.start(ctx, cmd, plan, log, began)
	came := done()
	if err != nil {
		pidfile.giveUp()
		return f.failed(err)
	}
	// In a goroutine, so that signals are handled meanwhile: the reader may be slow or
	// never read.
	announced := make(chan error, 1)
	go func() {
		err := f.announce(cmd.OutOrStdout(), cmd.ErrOrStderr(), pidfile, tree)
		if err == nil {
			f.noticeHolding(cmd.ErrOrStderr(), plan.Tree(), tree)
		}
		announced <- err
	}()
	if f.detach {
		if err := signals.untilAnnounced(announced); err != nil {
			tree.Abort()
			pidfile.giveUp()
			return f.failed(err)
		}
		tree.Detach()
		return nil
	}
	status, err := signals.stay(tree, came, announced, cmd.ErrOrStderr())
	pidfile.remove()
	if err != nil {
		tree.Abort()
		return f.failed(err)
	}
	if status != 0 {
		return &exitError{status, nil}
	}
	return nil
}

// refuseOverwriting refuses an output file that is the description, or that is a
// standard descriptor, as /dev/stdout is: it would be cut, and a pid file even removed.
func (f *restoreFlags) refuseOverwriting(description string) error {
	read, err := os.Stat(description)
	if err != nil {
		read = nil // standard input, or it does not exist: reading it will fail
	}
	for _, out := range []struct {
		flag string
		path pathFlag
	}{{"--trace", f.trace}, {"--pidfile", f.pidfile}} {
		written, err := os.Stat(string(out.path))
		if err != nil {
			continue
		}
		if read != nil && os.SameFile(read, written) {
			return fmt.Errorf("%s %s: this file is the description", out.flag, out.path)
		}
		if !written.Mode().IsRegular() {
			continue // a terminal or a pipe is not cut
		}
		for _, standard := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
			if is, err := standard.Stat(); err == nil && os.SameFile(is, written) {
				return fmt.Errorf("%s %s: this file is %s, which belongs to the tree", out.flag, out.path, standard.Name())
			}
		}
	}
	return nil
}

// start runs the plan, with progress, log and trace as the flags say.
func (f *restoreFlags) start(ctx context.Context, cmd *cobra.Command, plan *restore.Plan, log *logrus.Logger, began time.Time) (*restore.Tree, error) {
	options := restore.Options{Timeout: time.Duration(f.timeout), Began: began, Log: log, Alone: true}
	if !log.IsLevelEnabled(logrus.InfoLevel) { // log lines and a bar would overwrite each other
		options.Progress = progressOn(cmd.ErrOrStderr(), began)
	}
	trace, err := openTrace(ctx, string(f.trace))
	if err != nil {
		return nil, err
	}
	if trace == nil {
		return restore.Start(ctx, plan, options)
	}
	options.Trace = trace
	tree, err := restore.Start(ctx, plan, options)
	if closeErr := trace.Close(); closeErr != nil {
		log.WithError(closeErr).Warn("the trace could not be written")
	}
	return tree, err
}

// planWithin loads and plans a description. It returns early on a signal or at the
// timeout, because reading the description may block forever.
func (f *restoreFlags) planWithin(ctx context.Context, cmd *cobra.Command, path string, log *logrus.Logger) (*restore.Plan, error) {
	type result struct {
		plan *restore.Plan
		err  error
	}
	planned := make(chan result, 1)
	go func() {
		p := planner{inherit: f.inherit, strategy: f.strategy, detach: f.detach, silent: !log.IsLevelEnabled(logrus.WarnLevel)}
		plan, err := p.plan(cmd, path)
		planned <- result{plan, err}
	}()
	var late <-chan time.Time
	if f.timeout > 0 {
		late = time.After(time.Duration(f.timeout))
	}
	select {
	case r := <-planned:
		return r.plan, r.err
	case <-late:
		return nil, f.failed(fmt.Errorf("%s: %w, after %v: the description is still being read", path, restore.ErrTimeout, time.Duration(f.timeout)))
	case <-ctx.Done():
		status := exitForeFail
		if got, ok := errors.AsType[*signalError](context.Cause(ctx)); ok {
			status = 128 + int(got.sig)
		}
		return nil, &exitError{status, nil}
	}
}

// standIn runs the command in a stand-in.
func (f *restoreFlags) standIn() error {
	err := standIn()
	if _, ok := errors.AsType[*exitError](err); err == nil || ok {
		return err
	}
	return f.failed(err)
}

func (f *restoreFlags) failed(err error) error {
	return &exitError{statusOf(err, f.detach), err}
}

// announce writes the pid file and the report, and warns about what the report lacks.
func (f *restoreFlags) announce(w, stderr io.Writer, pidfile *pidFile, tree *restore.Tree) error {
	if err := pidfile.write(tree.RootPID()); err != nil {
		return err
	}
	if !f.json {
		return nil
	}
	report := tree.Report()
	if err := json.NewEncoder(w).Encode(report); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if logrus.Level(f.logLevel) >= logrus.WarnLevel {
		for _, unseen := range report.Unseen {
			_, _ = fmt.Fprintln(stderr, "regrow: warning: "+unseen)
		}
	}
	return nil
}

// noticeHolding tells a user at a terminal how to end a tree whose root runs no
// program: only a signal ends it, and nothing else would be printed.
func (f *restoreFlags) noticeHolding(stderr io.Writer, described *tasktree.Tree, tree *restore.Tree) {
	if f.detach || !described.Root.Holds() || logrus.Level(f.logLevel) < logrus.WarnLevel || terminal(stderr) == nil {
		return
	}
	tasks := "1 task is"
	if n := len(described.Tasks()); n != 1 {
		tasks = fmt.Sprintf("%d tasks are", n)
	}
	end := fmt.Sprintf("kill %d", os.Getpid())
	if inForeground() {
		end = "press Ctrl-C, or from elsewhere " + end
	}
	notice(stderr, "%s restored; the root, pid %d, holds until a signal ends it: %s", tasks, tree.RootPID(), end)
}
