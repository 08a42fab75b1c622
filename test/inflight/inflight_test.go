package inflight

import (
	"os"
	"testing"
	"time"
)

// TestApart holds that several have some at a time, and that who takes many is alone.
func TestApart(t *testing.T) {
	t.Setenv(heldEnv, "")
	first, err := Some()
	if err != nil {
		t.Fatal(err)
	}
	if held, err := Many(); err != nil || os.Getenv(heldEnv) == "" {
		t.Fatalf("what tests start waits for them: %v", err)
	} else {
		held()
	}
	t.Setenv(heldEnv, "")
	second, err := Some()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(heldEnv, "")
	got := make(chan func())
	go func() {
		release, err := Many()
		if err != nil {
			t.Error(err)
			release = func() {}
		}
		got <- release
	}()
	select {
	case <-got:
		t.Fatal("somebody takes many beside others")
	case <-time.After(50 * time.Millisecond): // a wrong lock comes at once, mostly
	}
	first()
	second()
	release := <-got
	release()
}
