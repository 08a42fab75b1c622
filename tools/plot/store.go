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

// measured is a line of store.jsonl.
type measured struct {
	What        string  `json:"what"`
	How         string  `json:"how"`
	Files       int     `json:"files"`
	Takers      int     `json:"takers"`
	Unit        string  `json:"unit"`
	Median      float64 `json:"median"`
	Lowest      float64 `json:"lowest"`
	Descriptors int     `json:"descriptors"`
}

// drawStore draws what a get costs against the files in the store, and prints all
// that was measured.
func drawStore(dir string) error {
	f, err := os.Open(filepath.Join(dir, "store.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	points := map[string]plotter.XYs{}
	fmt.Println("| what | how | files | takers | median | lowest | unit | descriptors |")
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var m measured
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		fmt.Printf("| %s | %s | %d | %d | %.0f | %.0f | %s | %d |\n", m.What, m.How, m.Files, m.Takers, m.Median, m.Lowest, m.Unit, m.Descriptors)
		key := m.What + " " + m.How
		points[key] = append(points[key], plotter.XY{X: float64(m.Files), Y: m.Median / 1000})
	}
	var dup plotter.XYs
	for _, at := range points["get nested"] {
		dup = append(dup, plotter.XY{X: at.X, Y: points["get dup"][0].Y})
	}
	p := newPlot("What one taker pays for a file", "files in the store", "µs")
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	err = addSeries(p,
		series{name: "a get by number", color: blue, points: points["get nested"]},
		series{name: "a get by name", color: blue, dashed: true, points: points["named nested"]},
		series{name: "open, look up, get: a worker's first", color: gray, points: points["worker nested"]},
		series{name: "a get from a flat store", color: orange, points: points["get flat"]},
		series{name: "dup, to compare", color: gray, dashed: true, points: dup})
	if err != nil {
		return err
	}
	p.X.Min, p.X.Max = 7, 150_000
	return save(p, dir, "store.svg", 16*vg.Centimeter, 10*vg.Centimeter)
}
