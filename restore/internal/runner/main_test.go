package runner

import (
	"context"
	"os"
	"testing"
	"time"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/prepare"
	"regrow/test/inflight"
)

// patience is how long a test waits for what must come. It is only there to end a
// test that hangs: no verdict depends on how long something takes.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	prepare.Init() // the tests start this program again to keep open files
	os.Exit(inflight.Run(inflight.Some, m.Run))
}

var allJoined = Joined{Verify: model.Verify, Rebase: planner.Rebased, Once: planner.Once}

func startNow(ctx context.Context, p *plan.Plan, o Options) (*Tree, error) {
	return Start(ctx, p, o, allJoined)
}
