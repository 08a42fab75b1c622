package restore

import (
	"fmt"
	"os"
	"testing"
	"time"

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
