package inflight

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestApart checks that several processes may hold Some at a time, and only one Many.
func TestApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "go.mod") // the real one is for the other packages
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var releases []func()
	for range 2 {
		release, err := lock(path, unix.LOCK_SH)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	got := make(chan func(), 1)
	go func() {
		release, err := lock(path, unix.LOCK_EX)
		if err != nil {
			t.Error(err)
			release = func() {}
		}
		got <- release
	}()
	for _, release := range releases {
		select {
		case <-got:
			t.Fatal("Many returned while others hold the lock")
		case <-time.After(20 * time.Millisecond): // a wrong lock would mostly return at once
		}
		release()
	}
	release := <-got
	release()
}

// TestHeld checks that programs that tests start do not wait for the lock.
func TestHeld(t *testing.T) {
	t.Setenv(heldEnv, "1")
	for range 2 {
		release, err := Many()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
}

// TestModFile checks that the packages of one checkout agree on a file.
func TestModFile(t *testing.T) {
	path, err := modFile()
	if want, _ := filepath.Abs("../../go.mod"); err != nil || path != want {
		t.Errorf("%q, want %q (%v)", path, want, err)
	}
}
