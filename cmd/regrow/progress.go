package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"regrow/restore"
)

// showAfter is how long a restore runs before a bar is drawn.
const showAfter = 500 * time.Millisecond

// terminalPatience is how long the release waits for the bar to be removed. A
// terminal may block all output (Ctrl-S, a lost connection).
const terminalPatience = 250 * time.Millisecond

// terminal returns w as a file if it is a terminal, else nil.
func terminal(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

// progressOn returns a function that draws a restore's progress on the terminal w, or
// nil if w is not a terminal. A goroutine draws. If it is blocked in a write, the
// function drops what it is given.
func progressOn(w io.Writer, began time.Time) func(restore.Progress) {
	f := terminal(w)
	if f == nil {
		return nil
	}
	news, removed := make(chan restore.Progress), make(chan struct{})
	go func() {
		defer close(removed)
		b := &progressBar{f: f}
		for p := range news {
			b.draw(p)
		}
		b.remove()
	}()
	return func(p restore.Progress) {
		switch {
		case p.Over:
			close(news)
			select {
			case <-removed:
			case <-time.After(terminalPatience):
			}
		case time.Since(began) >= showAfter:
			select {
			case news <- p:
			default: // the goroutine is still drawing
			}
		}
	}
}

// progressBar is a bar on a terminal. It appears with the first call of draw.
type progressBar struct {
	f    *os.File
	last atomic.Pointer[restore.Progress]
	bars *mpb.Progress
	bar  *mpb.Bar
}

func (b *progressBar) draw(p restore.Progress) {
	b.last.Store(&p)
	if b.bar == nil {
		b.bars = mpb.New(mpb.WithOutput(b.f), mpb.WithWidth(24), mpb.WithRefreshRate(50*time.Millisecond))
		b.bar = b.bars.AddBar(3*int64(p.Tasks), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			p := b.last.Load()
			return fmt.Sprintf(" forked %d, installed %d, released %d of %d", p.Forked, p.Installed, p.Released, p.Tasks)
		})))
	}
	// Each task counts one step in each of three stages. A full bar would end itself.
	b.bar.SetCurrent(min(int64(p.Forked+p.Installed+p.Released), 3*int64(p.Tasks)-1))
}

func (b *progressBar) remove() {
	if b.bar != nil {
		b.bar.Abort(true)
		b.bars.Wait()
	}
}
