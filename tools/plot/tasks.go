package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// bench is what test/bench -json prints.
type bench struct {
	Options struct {
		Shape string `json:"shape"`
		Tasks int    `json:"tasks"`
		FDs   int    `json:"fds"`
	} `json:"options"`
	CPUs   int     `json:"cpus"`
	Rounds []times `json:"rounds"`
	Median times   `json:"median"`

	ReleaseToFloor float64 `json:"release_to_floor"`
	WholeToFloor   float64 `json:"whole_to_floor"`
	CPUToFloor     float64 `json:"cpu_to_floor"`
}

// printTable prints the rows of the table in docs/performance.md.
func printTable(dir string) error {
	fmt.Println("| tree | release / floor | whole command / floor | processor time of the tree / floor's | release, µs a task |")
	fmt.Println("|---|---|---|---|---|")
	for _, name := range []string{"tasks.jsonl", "shapes.jsonl"} {
		all, err := readBenches(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		for _, b := range all {
			fmt.Printf("| %s, %d tasks with %d descriptors | %.2f | %.2f | %.2f | %.1f |\n", b.Options.Shape, b.Options.Tasks, b.Options.FDs,
				b.ReleaseToFloor, b.WholeToFloor, b.CPUToFloor, float64(b.Median.ReleaseNS)/1000/float64(b.Options.Tasks))
		}
	}
	return nil
}

type times struct {
	FloorNS    int64 `json:"floor_ns"`
	ReleaseNS  int64 `json:"release_ns"`
	FloorCPUNS int64 `json:"floor_cpu_ns"`
	TreeCPUNS  int64 `json:"tree_cpu_ns"`
}

// drawTasks draws what a task costs against the number of tasks.
func drawTasks(dir string) error {
	all, err := readBenches(filepath.Join(dir, "tasks.jsonl"))
	if err != nil {
		return err
	}
	floor := series{name: "C floor, best round", color: gray}
	release := series{name: "regrow, first clone to release, best round", color: blue}
	floorCPU := series{name: "C floor, processor time", color: gray, dashed: true}
	treeCPU := series{name: "regrow's tree, processor time", color: blue, dashed: true}
	for _, b := range all {
		best := b.Rounds[0]
		for _, r := range b.Rounds {
			best.FloorNS, best.ReleaseNS = min(best.FloorNS, r.FloorNS), min(best.ReleaseNS, r.ReleaseNS)
		}
		point := func(s *series, ns int64) {
			s.points = append(s.points, plotter.XY{X: float64(b.Options.Tasks), Y: float64(ns) / 1000 / float64(b.Options.Tasks)})
		}
		point(&floor, best.FloorNS)
		point(&release, best.ReleaseNS)
		point(&floorCPU, b.Median.FloorCPUNS)
		point(&treeCPU, b.Median.TreeCPUNS)
	}
	p := newPlot(fmt.Sprintf("What a task with %d descriptors costs on %d processors", all[0].Options.FDs, all[0].CPUs),
		"tasks", "µs a task")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if err := addSeries(p, floor, release, floorCPU, treeCPU); err != nil {
		return err
	}
	p.X.Min, p.X.Max, p.Y.Min = 70, 15_000, 0
	p.Y.Max *= 1.5 // for the legend
	return save(p, dir, "tasks.svg", 16*vg.Centimeter, 10*vg.Centimeter)
}

func readBenches(path string) ([]bench, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []bench
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var b bench
		if err := json.Unmarshal(lines.Bytes(), &b); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(b.Rounds) == 0 || b.Options.Tasks == 0 {
			return nil, fmt.Errorf("%s: a line without rounds", path)
		}
		all = append(all, b)
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		return nil, fmt.Errorf("%s: no measurements (%w)", path, err)
	}
	return all, nil
}
