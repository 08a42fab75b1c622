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
)

// restoreFlags are the flags of regrow restore.
type restoreFlags struct {
	detach   bool
	json     bool
	pidfile  string
	timeout  time.Duration
	logLevel string
	trace    string
	inherit  inheritFlag
	strategy strategyFlags
}

func newRestore() *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore TREE.yaml",
		Short: "Restore the tree and stay with it until it ends",
		Long: `Restore the tree and stay with it until it ends; regrow then ends with the
status of the tree's root task (128+N for signal N). TERM, HUP, USR1 and USR2
are passed to the root; INT, QUIT and WINCH too, unless the terminal has sent
them to the tree itself.

Exit status: the root's, or 2 for an invalid description, 3 if the kernel or
the privileges lack something, 125 if the restore failed after it had begun
(with --detach: 0 when restored, 1 for a failure).`,
		Example: `  regrow restore examples/pipeline.yaml
  regrow restore --detach --json --pidfile /run/tree.pid tree.yaml`,
		Args:              treeArg,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
		ValidArgsFunction: yamlFiles,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&f.detach, "detach", "d", false, "return as soon as every task is restored; the tree lives on")
	flags.BoolVar(&f.json, "json", false, "print a report as one JSON object at release")
	flags.StringVar(&f.pidfile, "pidfile", "", "write the root's host pid to `F` at release; removed when a foreground tree ends")
	flags.DurationVar(&f.timeout, "timeout", 0, "give up if the tree is not released within `D` (such as 10s)")
	flags.StringVar(&f.logLevel, "log-level", "warning", "how much to tell on standard error: "+strings.Join(levels(), ", "))
	flags.StringVar(&f.trace, "trace", "", "write what every task did when to `F`, as Chrome trace events")
	f.strategy.add(cmd)
	f.inherit.add(cmd)
	return cmd
}

func levels() []string {
	var names []string
	for _, l := range logrus.AllLevels {
		names = append(names, l.String())
	}
	return names
}

func (f *restoreFlags) run(cmd *cobra.Command, path string) error {
	began := time.Now()
	if needsStandIn() {
		return f.standIn()
	}
	if err := f.inherit.checkOpen(); err != nil {
		return err
	}
	level, err := logrus.ParseLevel(f.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level %q: want one of %s", f.logLevel, strings.Join(levels(), ", "))
	}
	if f.timeout < 0 {
		return fmt.Errorf("--timeout %v: want a time that is not negative", f.timeout)
	}
	if err := f.spare(path); err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(cmd.ErrOrStderr())
	log.SetLevel(level)
	signals := catch()
	defer signals.stop()
	ctx, done := signals.untilRelease(context.Background())
	plan, err := f.planWithin(ctx, cmd, path)
	if err != nil {
		return err
	}
	pidfile, err := openPIDFile(f.pidfile)
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
	// Beside the signals: whoever reads may be slow, or never come.
	announced := make(chan error, 1)
	go func() { announced <- f.announce(cmd.OutOrStdout(), pidfile, tree) }()
	if f.detach {
		if err := signals.untilAnnounced(announced); err != nil {
			tree.Abort()
			pidfile.giveUp()
			return f.failed(err)
		}
		tree.Detach()
		return nil
	}
	status, err := signals.stay(tree, came, announced)
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

// spare refuses to write over the description.
func (f *restoreFlags) spare(description string) error {
	read, err := os.Stat(description)
	if err != nil {
		return nil // standard input, or what is not there, as reading will tell
	}
	for _, out := range []struct{ flag, path string }{{"--trace", f.trace}, {"--pidfile", f.pidfile}} {
		if written, err := os.Stat(out.path); err == nil && os.SameFile(read, written) {
			return fmt.Errorf("%s %s: that is the description", out.flag, out.path)
		}
	}
	return nil
}

// start carries the plan out, watched as the flags say.
func (f *restoreFlags) start(ctx context.Context, cmd *cobra.Command, plan *restore.Plan, log *logrus.Logger, began time.Time) (*restore.Tree, error) {
	options := restore.Options{Timeout: f.timeout, Began: began, Log: log, Alone: true}
	if !log.IsLevelEnabled(logrus.InfoLevel) { // a log and a bar would be in each other's way
		options.Progress = progressOn(cmd.ErrOrStderr(), began)
	}
	trace, err := openTrace(ctx, f.trace)
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

// planWithin loads and plans a description, unless a signal or the timeout comes
// before that is done: reading it may take for ever.
func (f *restoreFlags) planWithin(ctx context.Context, cmd *cobra.Command, path string) (*restore.Plan, error) {
	type result struct {
		plan *restore.Plan
		err  error
	}
	planned := make(chan result, 1)
	go func() {
		plan, err := planOf(cmd, path, f.inherit, f.strategy, false, f.detach)
		planned <- result{plan, err}
	}()
	var late <-chan time.Time
	if f.timeout > 0 {
		late = time.After(f.timeout)
	}
	select {
	case r := <-planned:
		return r.plan, r.err
	case <-late:
		return nil, f.failed(fmt.Errorf("%s: %w of %v: the description is still being read", path, restore.ErrTimeout, f.timeout))
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

// announce writes the pid file and the report.
func (f *restoreFlags) announce(w io.Writer, pidfile *pidFile, tree *restore.Tree) error {
	if err := pidfile.write(tree.RootPID()); err != nil {
		return err
	}
	if f.json {
		if err := json.NewEncoder(w).Encode(tree.Report()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
