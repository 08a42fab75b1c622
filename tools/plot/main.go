// Command plot draws the figures of docs/performance.md from what was measured:
//
//	go run . ../../docs/performance
//
// With -store it draws only that of docs/fdstore.md, from store.jsonl (test/bench/store),
// and prints the rows of its tables. Otherwise it reads tasks.jsonl and shapes.jsonl
// (test/bench -json, a line a tree), get.txt (go test -bench) and trace.json.gz (restore
// --trace) there, writes the pictures beside them, and prints the rows of the page's table.
// It is a module of its own, so that nobody who uses regrow inherits the plotting library.
package main

import (
	"flag"
	"fmt"
	"image/color"
	"os"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

func main() {
	store := flag.Bool("store", false, "draw the figure of docs/fdstore.md alone, and print its tables")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: plot [-store] FOLDER")
		os.Exit(2)
	}
	figures := []func(dir string) error{drawTasks, drawGets, drawTrace, drawStore, printTable}
	if *store {
		figures = []func(dir string) error{drawStore}
	}
	for _, f := range figures {
		if err := f(flag.Arg(0)); err != nil {
			fmt.Fprintf(os.Stderr, "plot: %v\n", err)
			os.Exit(1)
		}
	}
}

// Colors that differ in brightness too.
var (
	blue   = color.RGBA{0x1f, 0x5f, 0xa8, 0xff}
	orange = color.RGBA{0xe0, 0x7b, 0x1a, 0xff}
	gray   = color.RGBA{0x77, 0x77, 0x77, 0xff}
)

// series is one line of a plot.
type series struct {
	name   string
	color  color.Color
	dashed bool
	points plotter.XYs
}

// newPlot makes a plot whose axes begin at 0 where they are linear.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(8)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = vg.Points(2)
	p.Add(plotter.NewGrid())
	return p
}

func addSeries(p *plot.Plot, all ...series) error {
	for _, s := range all {
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		line.Color, points.Color = s.color, s.color
		line.Width = vg.Points(1.5)
		points.Shape = draw.CircleGlyph{}
		if s.dashed {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
		}
		p.Add(line, points)
		p.Legend.Add(s.name, line, points)
	}
	return nil
}

func save(p *plot.Plot, dir, name string, width, height vg.Length) error {
	return p.Save(width, height, filepath.Join(dir, name))
}
