//go:build linux && (amd64 || arm64)

package early_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"regrow/fdstore/internal/early"
)

// The test is in another package, because the package itself must import nothing.

// TestBeforeSyscall checks the order of initialization: this test binary, started with a
// soft limit below the hard one, must read that limit although package syscall has
// raised it.
func TestBeforeSyscall(t *testing.T) {
	const want = 777
	if os.Getenv("EARLY_CHILD") == "1" {
		soft, hard, _ := early.Files()
		var now syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
			t.Fatal(err)
		}
		if soft != want || hard <= want {
			t.Errorf("read early: soft %d, hard %d, want soft %d under a higher hard one", soft, hard, want)
		}
		if now.Cur == want {
			t.Errorf("the soft limit is still %d: package syscall did not raise it, so this test shows nothing", now.Cur)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -Sn 777 && exec "$0" -test.run='^TestBeforeSyscall$' -test.v`, self)
	cmd.Env = append(os.Environ(), "EARLY_CHILD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
