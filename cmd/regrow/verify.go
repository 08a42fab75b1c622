package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"regrow/images/live"
	"regrow/restore/parts"
	"regrow/tasktree"
)

// compareLevel is the flag --level.
type compareLevel live.Level

// String implements pflag.Value.
func (f *compareLevel) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *compareLevel) Type() string { return "L" }

// Set implements pflag.Value.
func (f *compareLevel) Set(s string) error {
	for _, l := range live.Levels {
		if s == string(l) {
			*f = compareLevel(l)
			return nil
		}
	}
	return fmt.Errorf("expected one of %s%s", strings.Join(levelWords(), ", "), tasktree.DidYouMean(s, levelWords()))
}

func levelWords() (words []string) {
	for _, l := range live.Levels {
		words = append(words, string(l))
	}
	return words
}

func newVerify() *cobra.Command {
	var asJSON bool
	var level compareLevel
	var inherit inheritFlag
	cmd := &cobra.Command{
		Use:   "verify TREE.yaml PID",
		Short: "Compare a running process tree with its description",
		Long: `Compare the tree of process PID with a description: tasks, descriptors, which of
them share an open file, and the kind and state of each open file. Every
difference is a line, FILE:LINE:COL: ..., with the described and the real value.
It needs the right to inspect the processes (the same user, or CAP_SYS_PTRACE),
and changes nothing. For an inherit any open file matches, unless --inherit-fd
says which one it is. Give every other --inherit-fd of the restore here, too.

Without --level everything is compared for tasks that hold. For tasks with a
program, and for their open files, offsets, contents and arguments are not
compared, nor what programs have opened and started by themselves. --level shape
compares tasks, numbers, sharing, kinds and close-on-exec; state also flags,
paths, capacities, folders and pids; exact everything.

Exit status: 0 if they are equal, 1 if not or if no process has this PID, 2 for
wrong usage or an invalid description, 3 if there is no difference, but something
is not visible to this user.`,
		Example: `  regrow restore -d --pidfile tree.pid tree.yaml
  regrow verify tree.yaml $(cat tree.pid)`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("verify takes one TREE.yaml (- for standard input) and one PID, not %d arguments; see regrow verify --help", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(args[1])
			if err != nil || pid < 1 || pid > tasktree.MaxPID {
				return fmt.Errorf("verify: %q is not a PID; write the number of the root task, from 1 to %d", args[1], tasktree.MaxPID)
			}
			return verify(cmd, args[0], pid, live.Level(level), &inherit, asJSON)
		},
		ValidArgsFunction: yamlFile,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of text")
	cmd.Flags().Var(&level, "level", "how much to compare: shape, state or exact")
	inherit.add(cmd)
	completeFlags(cmd, map[string][]string{"level": levelWords()})
	return cmd
}

func verify(cmd *cobra.Command, path string, pid int, level live.Level, inherit *inheritFlag, asJSON bool) error {
	if err := inherit.checkOpen(); err != nil {
		return err
	}
	d, err := load(path, cmd.InOrStdin(), false)
	if err != nil {
		return err
	}
	if err := inherit.checkStdin(d); err != nil {
		return err
	}
	tree, err := inherit.replaceAllKeys(d.tree)
	if err != nil {
		return err
	}
	warn(cmd.ErrOrStderr(), tree)
	verdict, err := live.Verify(tree, pid, level, inherit.fds)
	if err != nil {
		return &exitError{exitHost, err}
	}
	if asJSON {
		err = verifyJSON(cmd.OutOrStdout(), tree, pid, verdict)
	} else {
		err = verifyText(cmd.OutOrStdout(), tree, pid, verdict)
	}
	switch {
	case err != nil:
		return &exitError{exitNo, fmt.Errorf("verify: %w", err)}
	case len(verdict.Differences) > 0:
		return &exitError{exitNo, nil}
	case verdict.Hidden() > 0:
		return &exitError{exitHost, nil}
	}
	return nil
}

// verifyText prints a line for each finding, and a summary.
func verifyText(w io.Writer, tree *tasktree.Tree, pid int, v *live.Verdict) error {
	var b strings.Builder
	for _, f := range append(v.Differences, v.Unseen...) {
		if !f.Always {
			fmt.Fprintf(&b, "%s: %s\n", tasktree.At(tree.Source, f.Pos), f)
		}
	}
	fmt.Fprintf(&b, "process %d: ", pid)
	switch {
	case len(v.Differences) > 0:
		fmt.Fprintf(&b, "%s from %s", count(len(v.Differences), "difference"), tree.Source)
		if n := v.Hidden(); n > 0 {
			fmt.Fprintf(&b, ", and %d not visible", n)
		}
	case v.Hidden() > 0:
		fmt.Fprintf(&b, "no difference from %s, but %d not visible", tree.Source, v.Hidden())
	default:
		fmt.Fprintf(&b, "as described by %s", tree.Source)
	}
	if v.Hidden() > 0 {
		b.WriteString("; their user, or one with CAP_SYS_PTRACE, may see more")
	}
	fmt.Fprintf(&b, " (%s)\n", compared(v))
	_, err := io.WriteString(w, b.String())
	return err
}

// compared describes how exact the comparison was.
func compared(v *live.Verdict) string {
	switch {
	case v.Level != live.Auto:
		return "level " + string(v.Level)
	case v.Programs == 0:
		return "level exact, because every task holds"
	}
	text := fmt.Sprintf("%s: offsets, contents and arguments are not compared there", count(v.Programs, "task runs a program", "tasks run programs"))
	var more []string
	if n := v.More.FDs; n > 0 {
		more = append(more, count(n, "descriptor"))
	}
	if n := v.More.Tasks; n > 0 {
		more = append(more, count(n, "task"))
	}
	if len(more) > 0 {
		text += "; programs have " + strings.Join(more, " and ") + " that the description does not have"
	}
	return text
}

// count returns a number and its noun. several is the plural if it is not the singular
// with an s.
func count(n int, one string, several ...string) string {
	many := one + "s"
	if len(several) > 0 {
		many = several[0]
	}
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// verifyReport is the output of regrow verify --json.
type verifyReport struct {
	Version  int    `json:"version"` // 1
	Source   string `json:"source"`
	PID      int    `json:"pid"`
	Level    string `json:"level"` // shape, state, exact or auto
	Equal    bool   `json:"equal"` // no difference, and everything is visible to this user
	Programs int    `json:"programs"`

	Replaced []parts.Replaced `json:"replaced,omitempty"` // by the caller's descriptors

	Differences []verifyFinding `json:"differences"`
	Unseen      []verifyFinding `json:"unseen"`
	MoreFDs     int             `json:"more_fds,omitempty"`
	MoreTasks   int             `json:"more_tasks,omitempty"`
}

// verifyFinding is a difference, or something that is not visible.
type verifyFinding struct {
	Line      int    `json:"line,omitempty"`
	Col       int    `json:"col,omitempty"`
	Task      string `json:"task,omitempty"`
	PID       int    `json:"pid,omitempty"`
	FD        *int   `json:"fd,omitempty"`
	File      string `json:"file,omitempty"`
	Key       string `json:"key,omitempty"`
	Described string `json:"described,omitempty"`
	Real      string `json:"real,omitempty"`
	Why       string `json:"why,omitempty"`
	Always    bool   `json:"always,omitempty"` // no user can see it
	Text      string `json:"text"`
}

func verifyJSON(w io.Writer, tree *tasktree.Tree, pid int, v *live.Verdict) error {
	level := v.Level
	if level == live.Auto {
		level = "auto"
	}
	return json.NewEncoder(w).Encode(verifyReport{
		Version: 1, Source: tree.Source, PID: pid, Level: string(level), Equal: len(v.Differences)+v.Hidden() == 0, Programs: v.Programs,
		Replaced: parts.Replacements(tree), Differences: findings(tree, v.Differences), Unseen: findings(tree, v.Unseen), MoreFDs: v.More.FDs, MoreTasks: v.More.Tasks,
	})
}

func findings(tree *tasktree.Tree, all []live.Finding) []verifyFinding {
	out := make([]verifyFinding, len(all))
	for i, f := range all {
		out[i] = verifyFinding{
			Line: f.Pos.Line, Col: f.Pos.Col, Task: f.Task, PID: f.PID, File: f.File, Key: f.Key, Described: f.Described, Real: f.Real, Why: f.Why, Always: f.Always,
			Text: tasktree.At(tree.Source, f.Pos) + ": " + f.String(),
		}
		if f.FD >= 0 {
			out[i].FD = &f.FD
		}
	}
	return out
}
