// Command bench compares a restore with the floor, a C program that does only what every
// tree costs: it forks as many children in the same shape, with as many descriptors in
// each, see floor/floor.c.
//
//	go run ./test/bench -tasks 1000 -fds 10 -files 200
//	go run ./test/bench -shape chain -tasks 500
//	go run ./test/bench -shape private -tasks 1000 -fds 100
//	go run ./test/bench -tasks 1 -fds 19990 -base 6
//	go run ./test/bench -strategies
//
// It builds both programs and runs them in turn, so that other load on the machine affects
// both, and prints each round and the medians:
//
//	floor    first fork until the last child has its descriptors
//	release  first clone until the tree is released (elapsed_ns of the report)
//	whole    the regrow command from start to exit: reading the description,
//	         making the open files, filling the store, and the above
//	cpu      processor time of all processes of the tree, fork helpers included,
//	         which other load on the machine changes little; that of regrow itself
//	         is separate
//	private  private memory of the task in the middle (Private_Clean +
//	         Private_Dirty of smaps_rollup, since Linux 4.14)
//
// The floor shares one open file and checks nothing; the restored tree shares as many as
// -files says. In the shape private each descriptor is an open file of the task's own, which
// both programs open with the same checks. No run fails because of its times.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// runTimeout limits one run of one of the programs.
	runTimeout = 2 * time.Minute
	// buildTimeout limits building one of them, with an empty build cache.
	buildTimeout = 10 * time.Minute
)

// options are the flags, which have the same names.
type options struct {
	Shape  string `json:"shape"`  // wide, chain, private
	Tasks  int    `json:"tasks"`  // under one root, which has no descriptors
	FDs    int    `json:"fds"`    // of each task
	Files  int    `json:"files"`  // open files that the descriptors share
	Base   int    `json:"base"`   // lowest descriptor
	Rounds int    `json:"rounds"` // runs of each program

	regrow     string // a built regrow, "" to build one
	trace      string // for the trace of the fastest round, "" for none
	json       bool
	strategies bool // compare strategies instead
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// errUsage means that the flags are wrong and that the message was printed.
var errUsage = errors.New("wrong usage")

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	opt, err := parse(args)
	if err != nil {
		return err
	}
	// The tasks of a detached tree become children of this process, which can then
	// reap them. Since Linux 3.4.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", err)
	}
	dir, err := os.MkdirTemp("", "regrow-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{opt: opt, dir: dir}
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(b.tree(), []byte(description(opt)), 0o600); err != nil {
		return err
	}
	if opt.strategies {
		return b.strategies(ctx, out)
	}
	var rounds []round
	for i := range opt.Rounds {
		r, err := b.round(ctx)
		if err != nil {
			return fmt.Errorf("round %d of %d: %w", i+1, opt.Rounds, err)
		}
		rounds = append(rounds, r)
	}
	res := summarize(opt, rounds)
	if opt.json {
		return res.writeJSON(out)
	}
	return res.writeTable(out)
}

// parse reads the flags. It returns [flag.ErrHelp] or [errUsage] after it has printed a
// message.
func parse(args []string) (options, error) {
	var opt options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&opt.Shape, "shape", "wide", "wide: all tasks under one root; chain: each under the one before; private: wide, each descriptor an open file of its own")
	fs.IntVar(&opt.Tasks, "tasks", 1000, "tasks below the root")
	fs.IntVar(&opt.FDs, "fds", 10, "descriptors of each task")
	fs.IntVar(&opt.Files, "files", 200, "open files that the descriptors share")
	fs.IntVar(&opt.Base, "base", 10, "lowest descriptor")
	fs.IntVar(&opt.Rounds, "rounds", 7, "runs of each program")
	fs.BoolVar(&opt.strategies, "strategies", false, "compare the strategies of restore with each other instead")
	fs.BoolVar(&opt.json, "json", false, "print one JSON object instead of a table")
	fs.StringVar(&opt.trace, "trace", "", "write the fastest round's trace to this `file`; tracing costs a call an op")
	fs.StringVar(&opt.regrow, "regrow", "", "measure this `binary` instead of building one")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return opt, err
		}
		return opt, errUsage
	}
	wrong := ""
	switch {
	case fs.NArg() > 0:
		wrong = "no arguments, only flags"
	case opt.Tasks < 1 || opt.FDs < 1 || opt.Files < 1 || opt.Rounds < 1:
		wrong = "-tasks, -fds, -files and -rounds are 1 or more"
	case opt.Shape != "wide" && opt.Shape != "chain" && opt.Shape != "private":
		wrong = "-shape is wide, chain or private"
	case opt.Files > opt.Tasks*opt.FDs:
		wrong = fmt.Sprintf("%d descriptors cannot use %d files", opt.Tasks*opt.FDs, opt.Files)
	case opt.Base < 6:
		wrong = "-base is 6 or more: the floor has files of its own below"
	}
	if wrong != "" {
		fmt.Fprintf(os.Stderr, "bench: %s\n", wrong)
		return opt, errUsage
	}
	return opt, nil
}

// bench has the programs and their output.
type bench struct {
	opt    options
	dir    string // temporary
	floor  string // built programs
	regrow string

	best int64 // time to release, in nanoseconds, of the round whose trace is kept

	// Of the last command.
	cpu    time.Duration
	maxKiB int64
}

func (b *bench) tree() string { return filepath.Join(b.dir, "tree.yaml") }

// round runs both programs once.
func (b *bench) round(ctx context.Context) (round, error) {
	floor, err := b.runFloor(ctx)
	if err != nil {
		return round{}, err
	}
	r, err := b.runRegrow(ctx)
	if err != nil {
		return round{}, err
	}
	r.FloorNS, r.FloorKiB, r.FloorCPUNS = floor.ElapsedNS, floor.PrivateKiB, floor.CPUNS
	return r, nil
}

// command runs a program to its end, with output to files: a task that inherits a pipe would
// keep it open. It returns the program's standard output, and how long it ran.
func (b *bench) command(ctx context.Context, timeout time.Duration, stdin io.Reader, name string, args ...string) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stdout, err := os.Create(filepath.Join(b.dir, "stdout"))
	if err != nil {
		return nil, 0, err
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(b.dir, "stderr"))
	if err != nil {
		return nil, 0, err
	}
	defer stderr.Close()

	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ^C of the terminal reaches only this process, which forwards it
	cmd.WaitDelay = 10 * time.Second
	start := time.Now()
	err = cmd.Run()
	wall := time.Since(start)
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.cpu, b.maxKiB = cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), usage.Maxrss
	}
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		said, _ := os.ReadFile(stderr.Name())
		return nil, 0, fmt.Errorf("%s: %w%s", filepath.Base(name), err, indent(said))
	}
	data, err := os.ReadFile(stdout.Name())
	return data, wall, err
}

// indent indents the output of a program for a message.
func indent(b []byte) string {
	const most = 4096
	s := strings.TrimSpace(string(b[:min(len(b), most)]))
	if s == "" {
		return ""
	}
	return "\n\t" + strings.ReplaceAll(s, "\n", "\n\t")
}
