package restore

import (
	"os"
	"testing"
	"time"

	"regrow/test/inflight"
)

// patience is how long a test waits before it gives up. No result of a test depends on how
// long something takes.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	Init() // the tests start this program again as the service
	os.Exit(inflight.Run(inflight.Some, m.Run))
}
