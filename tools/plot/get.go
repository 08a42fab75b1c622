package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

var benchLine = regexp.MustCompile(`(?m)^Benchmark(Get|Flat)/files=(\d+)\S*\s+\d+\s+([\d.]+) ns/op`)

// drawGets draws what a get from a store costs against the files in it.
func drawGets(dir string) error {
	path := filepath.Join(dir, "get.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	best := map[string]map[float64]float64{"Get": {}, "Flat": {}}
	for _, m := range benchLine.FindAllStringSubmatch(string(text), -1) {
		files, _ := strconv.ParseFloat(m[2], 64)
		ns, _ := strconv.ParseFloat(m[3], 64)
		if was, ok := best[m[1]][files]; !ok || ns < was {
			best[m[1]][files] = ns
		}
	}
	if len(best["Get"]) == 0 || len(best["Flat"]) == 0 {
		return fmt.Errorf("%s: no results of BenchmarkGet and BenchmarkFlat", path)
	}
	points := func(of map[float64]float64) (xys plotter.XYs) {
		for files, ns := range of {
			xys = append(xys, plotter.XY{X: files, Y: ns / 1000})
		}
		slices.SortFunc(xys, func(a, b plotter.XY) int { return int(a.X - b.X) })
		return xys
	}
	p := newPlot("What a get by number costs", "files in the store", "µs a get")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	err = addSeries(p,
		series{name: "sockets in a socket (default)", color: blue, points: points(best["Get"])},
		series{name: "one socket, a message a file", color: orange, points: points(best["Flat"])})
	if err != nil {
		return err
	}
	p.X.Min, p.X.Max, p.Y.Min = 7, 150_000, 1
	return save(p, dir, "get.svg", 16*vg.Centimeter, 9*vg.Centimeter)
}
