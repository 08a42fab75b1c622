// Command store measures the cost of getting files from a store, and of other ways to pass
// descriptors:
//
//	go run ./test/bench/store > docs/performance/store.jsonl
//
// Each round measures everything once; the result is the median of the rounds, with a line
// of JSON for each figure. Every file that was got is compared with the stored one (kcmp),
// outside the measured time; a difference ends the run. The program starts itself again for
// the takers.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/internal/service"
)

// takerEnv is the variable that makes the program one of the takers.
const takerEnv = "BENCH_STORE_TAKER"

func main() {
	service.Init()
	if kind := os.Getenv(takerEnv); kind != "" {
		exit(take(kind))
	}
	rounds := flag.Int("rounds", 9, "how often each thing is measured")
	most := flag.Int("most", 100_000, "files of the largest store")
	flag.Parse()
	if flag.NArg() > 0 || *rounds < 1 || *most < 10 {
		flag.Usage()
		os.Exit(2)
	}
	exit(run(*rounds, *most))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/store:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// line is one figure.
type line struct {
	What  string  `json:"what"`            // get, named, group, add, worker, takers, close, memory
	How   string  `json:"how"`             // nested, flat, service, dup, pidfd_getfd
	Files int     `json:"files,omitempty"` // in the store, or in the group
	N     int     `json:"takers,omitempty"`
	Unit  string  `json:"unit"`
	Value float64 `json:"median"`
	Low   float64 `json:"lowest"`
	FDs   int     `json:"descriptors,omitempty"` // that the taker has open for it

	rounds []float64
	once   func() (value float64, fds int, err error)
}

// run measures everything, and prints it.
func run(rounds, most int) error {
	var files pool
	if err := files.open(); err != nil {
		return err
	}
	var lines []*line
	for _, make := range []func(*pool, int) ([]*line, error){gets, groups, others, takers} {
		more, err := make(&files, most)
		if err != nil {
			return err
		}
		lines = append(lines, more...)
	}
	for range rounds {
		for _, l := range lines {
			value, fds, err := l.once()
			if err != nil {
				return fmt.Errorf("%s, %s, %d files, %d takers: %w", l.What, l.How, l.Files, l.N, err)
			}
			l.rounds, l.FDs = append(l.rounds, value), fds
		}
	}
	out := json.NewEncoder(os.Stdout)
	for _, l := range lines {
		slices.Sort(l.rounds)
		l.Value, l.Low = l.rounds[len(l.rounds)/2], l.rounds[0]
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// pool has the stored files: message i has file i modulo poolSize.
type pool struct{ fds []int }

const poolSize = 64

func (p *pool) open() error {
	for i := range poolSize {
		fd, err := unix.MemfdCreate(fmt.Sprint("file ", i), unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		p.fds = append(p.fds, fd)
	}
	return nil
}

func (p *pool) of(i int) int { return p.fds[i%poolSize] }
