package restore

import (
	"os"
	"testing"
	"time"

	"regrow/test/inflight"
)

// patience is how long a test waits for what must come. It is only there to end a
// test that hangs: no verdict depends on how long something takes.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	Init() // the tests start this program again to keep open files
	os.Exit(inflight.Run(inflight.Some, m.Run))
}
