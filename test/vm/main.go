package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// options are the flags.
type options struct {
	kernels, arch  string
	packages, run  string
	shell, verbose bool
	hard           bool
	seed           int
	memory         int
	atOnce         int
	draw           int
	timeout        time.Duration
}

// mostAtOnce limits the memory of all machines on a host with many processors.
const mostAtOnce = 4

// everything is the pattern of all packages.
const everything = "./..."

func main() {
	var o options
	flag.StringVar(&o.kernels, "kernel", "all", "`list` of Debian's kernels ("+strings.Join(versions(), ", ")+"; all; newest) and paths of kernels")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "the machine's architecture: amd64 or arm64")
	flag.StringVar(&o.packages, "pkg", everything, "`patterns` of the packages whose tests run, with commas between")
	flag.StringVar(&o.run, "run", "", "only tests that match this `regexp`, as go test -run")
	flag.BoolVar(&o.shell, "shell", false, "a shell in a machine with the first kernel, in place of tests")
	flag.BoolVar(&o.verbose, "v", false, "all that the tests say, at once")
	flag.BoolVar(&o.hard, "hard", false, "many more rounds of the tests that draw at random")
	flag.IntVar(&o.seed, "seed", 20261124, "`number` that what is drawn at random follows from")
	flag.IntVar(&o.memory, "memory", 3072, "the machine's memory in `MiB`")
	flag.IntVar(&o.atOnce, "at-once", min(runtime.NumCPU(), mostAtOnce), "`number` of machines at once")
	flag.IntVar(&o.draw, "draw", 1, "each kernel but the last, or each where there are as many, runs one of so many `parts` of the end-to-end tests, drawn by the seed, beside what depends on a kernel")
	flag.DurationVar(&o.timeout, "timeout", 30*time.Minute, "for one package in one machine")
	flag.Parse()
	if flag.NArg() > 0 || o.atOnce < 1 || o.draw < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	ok, err := o.do(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// do reports whether everything passed; an error means that the machines could not run.
func (o options) do(ctx context.Context) (ok bool, err error) {
	if models[o.arch].program == "" {
		return false, fmt.Errorf("no machine is known for the architecture %q", o.arch)
	}
	if err := lacking(needs(o.arch)); err != nil {
		return false, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	cache = filepath.Join(cache, "regrow")
	kernels, err := kernelsOf(ctx, cache, o.arch, o.kernels)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "regrow-vm")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := o.prepare(ctx, cache, dir)
	if err != nil {
		return false, err
	}
	if o.shell {
		m := machine{arch: o.arch, accel: "tcg", kernel: kernels[0].image, initramfs: b.setups[0].initramfs, memory: o.memory, dir: dir}
		return true, m.shell(ctx)
	}
	b.accel = accelerator(ctx, machine{arch: o.arch, kernel: kernels[0].image, initramfs: b.empty, memory: 512, dir: dir})
	progress("%d kernels, %s, %s, %d machines at once", len(kernels), o.arch, b.accel, o.atOnce)
	return b.all(ctx, kernels)
}

// whole reports whether this run may write docs/kernels.md: on amd64 with all kernels, not
// in CI.
func (o options) whole() bool {
	return os.Getenv("CI") == "" && (o.kernels == "all" || o.kernels == "") && o.arch == "amd64"
}

// progress prints a line about the progress.
func progress(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

var errNoTests = errors.New("no package with tests matches")
