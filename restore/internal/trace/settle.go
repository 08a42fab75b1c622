package trace

import (
	"sync/atomic"
	"time"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
)

// settling is how long a trace waits for the tasks at most: one may be stopped just then.
const settling = 5 * time.Second

// settle waits until the tasks of a released tree that hold have begun their last op, or
// are gone. They are released, and the restore goes on, when they are counted, and two
// ops come after that.
func settle(p *plan.Plan, arena *postfork.Arena) {
	deadline := time.Now().Add(settling)
	for i := range p.Tasks {
		rec, n := arena.Record(i), len(p.Tasks[i].Ops)
		last := &arena.Ops(rec.Ops, n)[n-1]
		for last.Kind == program.OpHold && atomic.LoadInt64(&last.At) == 0 && postfork.Load(&rec.Word)&program.FutexDead == 0 && time.Now().Before(deadline) {
			time.Sleep(20 * time.Microsecond) //nolint:forbidigo // nobody is woken when a task begins an op
		}
	}
}
