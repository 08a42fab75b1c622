package main

import (
	"context"
	"encoding/json"
	"fmt"
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
	inherit  inheritFlag
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
	log := logrus.New()
	log.SetOutput(cmd.ErrOrStderr())
	log.SetLevel(level)
	plan, err := planOf(cmd, path, f.inherit, false, f.detach)
	if err != nil {
		return err
	}
	signals := catch()
	defer signals.stop()
	ctx, cancel := signals.untilRelease(context.Background())
	tree, err := restore.Start(ctx, plan, restore.Options{Timeout: f.timeout, Log: log})
	cancel()
	if err != nil {
		return &exitError{statusOf(err, f.detach), err}
	}
	if err := f.announce(cmd, tree); err != nil {
		tree.End()
		return &exitError{statusOf(err, f.detach), err}
	}
	if f.detach {
		tree.Detach()
		return nil
	}
	status, err := signals.stay(tree)
	if f.pidfile != "" {
		_ = os.Remove(f.pidfile)
	}
	if err != nil {
		return &exitError{exitForeFail, err}
	}
	if status != 0 {
		return &exitError{status, nil}
	}
	return nil
}

// announce writes the pid file and the report.
func (f *restoreFlags) announce(cmd *cobra.Command, tree *restore.Tree) error {
	if f.pidfile != "" {
		if err := os.WriteFile(f.pidfile, fmt.Appendf(nil, "%d\n", tree.RootPID()), 0o644); err != nil {
			return fmt.Errorf("pid file: %w", err)
		}
	}
	if f.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(tree.Report()); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
