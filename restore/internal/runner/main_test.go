package runner

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/test/inflight"
)

// patience is how long a test waits for what must come. It is only there to end a
// test that hangs: no verdict depends on how long something takes.
const patience = 5 * time.Minute

func runAll(m *testing.M) int {
	release, err := inflight.Some()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer release()
	return m.Run()
}

func TestMain(m *testing.M) {
	Init() // the tests start this program again to keep open files
	os.Exit(runAll(m))
}

var allJoined = Joined{Verify: model.Verify, Rebase: planner.Rebased, Once: planner.Once}

func startNow(ctx context.Context, p *plan.Plan, o Options) (*Tree, error) {
	return Start(ctx, p, o, allJoined)
}
