// Command ballast compares restores by a Go program with a small and a large heap: the cost
// of a task must not depend on the heap, because no task has it.
//
//	go run ./test/bench/ballast -mib 1024
//
// It runs itself with and without the ballast in turn, and prints each round and the medians
// for each task: the time from the first clone to release, and the processor time of Start
// and of all processes of the tree until they have ended, which other load on the machine
// changes little.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore"
)

func main() {
	mib := flag.Int("mib", 1024, "ballast in MiB")
	tasks := flag.Int("tasks", 1000, "tasks below the root")
	rounds := flag.Int("rounds", 7, "restores with and without ballast")
	once := flag.Bool("once", false, "restore once, with the ballast, and print the nanoseconds to release and of processor time")
	flag.Parse()
	var err error
	if *once {
		err = restoreOnce(*mib, *tasks)
	} else {
		err = compare(*mib, *tasks, *rounds)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "ballast: %v\n", err)
		os.Exit(1)
	}
}

// cost is the cost of a task, in microseconds.
type cost struct{ release, cpu float64 }

// compare runs this program in turn.
func compare(mib, tasks, rounds int) error {
	var without, with, ratio struct{ release, cpu []float64 }
	fmt.Println("          release, µs a task       processor time, µs a task")
	fmt.Println(" round  without   with  ratio       without   with  ratio")
	const row = "%6s  %7.1f  %5.1f  %5.2f       %7.1f  %5.1f  %5.2f\n"
	for i := range rounds {
		a, err := run(0, tasks)
		if err != nil {
			return err
		}
		b, err := run(mib, tasks)
		if err != nil {
			return err
		}
		without.release, with.release, ratio.release = append(without.release, a.release), append(with.release, b.release), append(ratio.release, b.release/a.release)
		without.cpu, with.cpu, ratio.cpu = append(without.cpu, a.cpu), append(with.cpu, b.cpu), append(ratio.cpu, b.cpu/a.cpu)
		fmt.Printf(row, strconv.Itoa(i+1), a.release, b.release, b.release/a.release, a.cpu, b.cpu, b.cpu/a.cpu)
	}
	fmt.Printf(row, "median", median(without.release), median(with.release), median(ratio.release), median(without.cpu), median(with.cpu), median(ratio.cpu))
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// run restores once in a process of its own.
func run(mib, tasks int) (cost, error) {
	const limit = 2 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-once", "-mib", strconv.Itoa(mib), "-tasks", strconv.Itoa(tasks))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return cost{}, err
	}
	var release, cpu int64
	if _, err := fmt.Sscan(string(out), &release, &cpu); err != nil {
		return cost{}, fmt.Errorf("%w: %q", err, out)
	}
	each := func(ns int64) float64 { return float64(ns) / 1000 / float64(tasks) }
	return cost{each(release), each(cpu)}, nil
}

// cpu returns processor time in nanoseconds: that of this process (RUSAGE_SELF), or of all
// processes that it and its children have reaped (RUSAGE_CHILDREN).
func cpu(who int) (int64, error) {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	return u.Utime.Nano() + u.Stime.Nano(), nil
}

func restoreOnce(mib, tasks int) error {
	ballast := make([]byte, mib<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1 // allocates each page
	}
	tree, err := images.Decode(strings.NewReader(description(tasks)), "ballast.yaml", "")
	if err != nil {
		return err
	}
	host, err := restore.ThisHost()
	if err != nil {
		return err
	}
	plan, err := restore.NewPlan(tree, host, restore.PlanOptions{})
	if err != nil {
		return err
	}
	before, err := cpu(unix.RUSAGE_SELF)
	if err != nil {
		return err
	}
	live, err := restore.Start(context.Background(), plan, restore.Options{})
	if err != nil {
		return err
	}
	after, err := cpu(unix.RUSAGE_SELF)
	live.End() // every process of the tree is reaped, by this one or by a task
	if err != nil {
		return err
	}
	ended, err := cpu(unix.RUSAGE_CHILDREN)
	if err != nil {
		return err
	}
	if len(ballast) > 0 && ballast[len(ballast)-4096] != 1 {
		return errors.New("the ballast has changed")
	}
	fmt.Println(time.Duration(live.Report().Elapsed).Nanoseconds(), ended+after-before)
	return nil
}

func description(tasks int) string {
	const files, fds, base = 200, 10, 10
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n")
	for i := range files {
		fmt.Fprintf(&b, "  f%d: {type: reg, path: /dev/null, flags: [O_RDWR]}\n", i)
	}
	b.WriteString("tasks:\n  - name: root\n    children:\n")
	for t := range tasks {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {", t)
		for j := range fds {
			fmt.Fprintf(&b, "%d: f%d, ", base+j, (t*fds+j)%files)
		}
		b.WriteString("}}\n")
	}
	return b.String()
}
