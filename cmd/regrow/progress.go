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

// showAfter is how long a restore may take before a bar is drawn.
const showAfter = 500 * time.Millisecond

// progressOn gives what draws a restore's progress on a terminal, or nil if w is
// none.
func progressOn(w io.Writer, began time.Time) func(restore.Progress) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	var last atomic.Pointer[restore.Progress]
	var bars *mpb.Progress
	var bar *mpb.Bar
	return func(p restore.Progress) {
		last.Store(&p)
		if p.Over || time.Since(began) < showAfter {
			if bar != nil {
				bar.Abort(true)
				bars.Wait()
			}
			return
		}
		if bar == nil {
			bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(24), mpb.WithRefreshRate(50*time.Millisecond))
			bar = bars.AddBar(3*int64(p.Tasks), mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
				p := last.Load()
				return fmt.Sprintf(" forked %d, installed %d, released %d of %d", p.Forked, p.Installed, p.Released, p.Tasks)
			})))
		}
		// A step a task and stage. A full bar would be over.
		bar.SetCurrent(min(int64(p.Forked+p.Installed+p.Released), 3*int64(p.Tasks)-1))
	}
}
