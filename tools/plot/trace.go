package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"image/color"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

type event struct {
	Name string  `json:"name"`
	Cat  string  `json:"cat"`
	Ph   string  `json:"ph"`
	Lane int     `json:"tid"`
	TS   float64 `json:"ts"`
	Dur  float64 `json:"dur"`
	Args struct {
		Name  string `json:"name"`
		Order int    `json:"sort_index"`
	} `json:"args"`
}

// category is a kind of op that has a color of its own.
type category struct {
	cat, name string
	color     color.Color
}

// categories in the order of the legend.
var categories = []category{
	{"fork", "forks a child", color.RGBA{0xc0, 0x39, 0x2b, 0xff}},
	{"store", "pulls from the store", blue},
	{"install", "installs, closes helpers", color.RGBA{0x2e, 0x8b, 0x57, 0xff}},
	{"task", "the rest: sets up, names", color.RGBA{0x8e, 0x6b, 0xad, 0xff}},
	{"barrier", "waits for the others", color.RGBA{0xdd, 0xdd, 0xdd, 0xff}},
}

// lanes draws a trace, a line a process, the root on top and what helps it below.
type lanes struct {
	spans    []event // Lane is the line, from 1 on
	helpers  int
	begin    float64 // the first clone
	ready    float64 // all tasks wait
	released float64
	last     int
}

// drawTrace draws the tasks' lanes from the first clone until the release, and the
// beginning of that in detail.
func drawTrace(dir string) error {
	l, err := readTrace(filepath.Join(dir, "trace.json.gz"))
	if err != nil {
		return err
	}
	const detail = 12
	first := l.spans[slices.IndexFunc(l.spans, func(e event) bool { return e.Lane == 2+l.helpers })].TS
	to := l.released
	if i := slices.IndexFunc(l.spans, func(e event) bool { return e.Lane == detail+1 }); i >= 0 {
		to = l.spans[i].TS
	}
	for _, f := range []struct {
		name, title string
		tasks       int
		from, to    float64
		height      vg.Length
	}{
		{"trace.svg", fmt.Sprintf("A restore of %d tasks with 10 descriptors, a line a process", l.last-1-l.helpers), l.last, l.begin, l.released + (l.released-l.begin)/50, 14},
		{"trace-detail.svg", fmt.Sprintf("The root, what helps it to fork, and the first %d tasks", detail-1-l.helpers), detail, first - 100, to, 7},
	} {
		p := plot.New()
		p.Title.Text = f.title
		p.Title.Padding = vg.Points(4)
		p.X.Label.Text = "µs since the first clone"
		p.HideY()
		p.Add(l)
		p.X.Min, p.X.Max = f.from-l.begin, f.to-l.begin
		p.Y.Min, p.Y.Max = -float64(f.tasks)-1, 0
		for _, at := range []float64{l.ready, l.released} {
			line, err := plotter.NewLine(plotter.XYs{{X: at - l.begin, Y: p.Y.Min}, {X: at - l.begin, Y: 0}})
			if err != nil {
				return err
			}
			line.Dashes = []vg.Length{vg.Points(3), vg.Points(2)}
			if at < f.to {
				p.Add(line)
			}
		}
		p.Legend.Left, p.Legend.XOffs = true, vg.Points(4)
		p.Legend.ThumbnailWidth = vg.Points(14)
		for _, c := range categories {
			p.Legend.Add(c.name, swatch{c.color})
		}
		if err := save(p, dir, f.name, 18*vg.Centimeter, f.height*vg.Centimeter); err != nil {
			return err
		}
	}
	return nil
}

func readTrace(path string) (*lanes, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var trace struct {
		Events []event `json:"traceEvents"`
	}
	if err := json.NewDecoder(text).Decode(&trace); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l := &lanes{}
	orders := map[int]int{} // by lane of the trace
	for _, e := range trace.Events {
		if e.Name == "thread_sort_index" {
			orders[e.Lane] = e.Args.Order
		}
	}
	sorted := slices.Sorted(maps.Values(orders))
	for _, e := range trace.Events {
		lane := e.Lane
		e.Lane, _ = slices.BinarySearch(sorted, orders[lane]) // line 0 is regrow's own
		switch {
		case e.Name == "thread_name" && strings.Contains(e.Args.Name, ", helper "):
			l.helpers++
		case e.Ph == "i" && e.Name == "released":
			l.released = e.TS
		case e.Ph == "i" && e.Name == "all tasks ready":
			l.ready = e.TS
		case e.Name == "restore the tasks":
			l.begin = e.TS
		case e.Ph == "X" && e.Lane > 0 && e.Name != "hold":
			l.add(e)
		}
	}
	if l.last < 2 || l.released == 0 {
		return nil, fmt.Errorf("%s: no tasks that were released", path)
	}
	return l, nil
}

// add takes a span. One that goes on with what the lane did before makes it longer.
func (l *lanes) add(e event) {
	l.last = max(l.last, e.Lane)
	if n := len(l.spans); n > 0 && l.spans[n-1].Lane == e.Lane && l.spans[n-1].Cat == e.Cat {
		l.spans[n-1].Dur = e.TS + e.Dur - l.spans[n-1].TS
		return
	}
	l.spans = append(l.spans, e)
}

// Plot implements [plot.Plotter].
func (l *lanes) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, e := range l.spans {
		i := slices.IndexFunc(categories, func(k category) bool { return k.cat == e.Cat })
		if i < 0 {
			continue
		}
		from, to := max(e.TS-l.begin, p.X.Min), min(e.TS+e.Dur-l.begin, p.X.Max)
		if to < from || float64(e.Lane) > -p.Y.Min {
			continue
		}
		left, right := x(from), x(to)
		top, bottom := y(-float64(e.Lane)+0.45), y(-float64(e.Lane)-0.45)
		fill(c, categories[i].color, left, bottom, max(right-left, vg.Points(0.15)), top-bottom)
	}
}

func fill(c draw.Canvas, col color.Color, x, y, width, height vg.Length) {
	c.SetColor(col)
	var path vg.Path
	path.Move(vg.Point{X: x, Y: y})
	path.Line(vg.Point{X: x + width, Y: y})
	path.Line(vg.Point{X: x + width, Y: y + height})
	path.Line(vg.Point{X: x, Y: y + height})
	path.Close()
	c.Fill(path)
}

// swatch is a color in the legend.
type swatch struct{ color color.Color }

// Thumbnail implements [plot.Thumbnailer].
func (s swatch) Thumbnail(c *draw.Canvas) {
	fill(*c, s.color, c.Min.X, c.Min.Y, c.Size().X, c.Size().Y)
}
