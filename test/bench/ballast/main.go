// Command ballast compares restores by a Go program with a small heap and with a
// large one: what a task costs must not depend on it, since no task keeps the heap.
//
//	go run ./test/bench/ballast -mib 1024
//
// It runs itself in turn, with and without the ballast, and prints each round and
// the medians: the time from the first clone to release, a task.
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

	"regrow/images"
	"regrow/restore"
)

func main() {
	mib := flag.Int("mib", 1024, "ballast in MiB")
	tasks := flag.Int("tasks", 1000, "tasks below the root")
	rounds := flag.Int("rounds", 7, "restores with and without ballast")
	once := flag.Bool("once", false, "restore once, with the ballast, and print the nanoseconds")
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

// compare runs this program in turn.
func compare(mib, tasks, rounds int) error {
	var without, with, ratios []float64
	fmt.Println(" round  without µs a task  with µs a task  ratio")
	for i := range rounds {
		a, err := run(0, tasks)
		if err != nil {
			return err
		}
		b, err := run(mib, tasks)
		if err != nil {
			return err
		}
		without, with, ratios = append(without, a), append(with, b), append(ratios, b/a)
		fmt.Printf("%6d  %17.1f  %14.1f  %5.2f\n", i+1, a, b, b/a)
	}
	fmt.Printf("median  %17.1f  %14.1f  %5.2f\n", median(without), median(with), median(ratios))
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// run gives the microseconds a task of one restore by a process of its own.
func run(mib, tasks int) (float64, error) {
	const limit = 2 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-once", "-mib", strconv.Itoa(mib), "-tasks", strconv.Itoa(tasks))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return float64(ns) / 1000 / float64(tasks), err
}

func restoreOnce(mib, tasks int) error {
	ballast := make([]byte, mib<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1 // each page is there
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
	live, err := restore.Start(context.Background(), plan, restore.Options{})
	if err != nil {
		return err
	}
	elapsed := time.Duration(live.Report().Elapsed)
	live.End()
	if len(ballast) > 0 && ballast[len(ballast)-4096] != 1 {
		return errors.New("the ballast has changed")
	}
	fmt.Println(elapsed.Nanoseconds())
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
