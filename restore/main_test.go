package restore

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Init() // the tests start this program again to keep open files
	os.Exit(m.Run())
}
