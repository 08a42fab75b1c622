//go:build linux

package fdstore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestMaxMessages(t *testing.T) {
	for _, layout := range []Layout{Nested, Flat} {
		s := newTestStore(t, Options{MaxMessages: 40, Layout: layout})
		addMany(t, s, 40)
		_, err := s.Add(devNull(t))
		if !errors.Is(err, ErrFull) || err.Error() != "fdstore: add message 40: store is full: it has 40 messages; Options.MaxMessages allows no more" {
			t.Error(err)
		}
	}
}

// TestMemoryLimit reads the limits of control groups of both versions.
func TestMemoryLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		most  int
		of    string
	}{
		{"nothing", nil, -1, ""},
		{"no limit", fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("max\n")}, -1, ""},
		{"a parent's", fstest.MapFS{
			"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("104857600\n"), "sys/fs/cgroup/a/memory.max": file("10485760\n"),
		}, 1024, "/sys/fs/cgroup/a/memory.max"},
		{"of a namespace's root", fstest.MapFS{"proc/self/cgroup": file("0::/../x\n"), "sys/fs/cgroup/memory.max": file("10485760\n")}, 1024, "/sys/fs/cgroup/memory.max"},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup": file("3:cpu,memory:/a\n0::/\n"), "sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("20971520"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712"),
		}, 2048, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"},
		{"tiny", fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("0\n")}, 1, "/sys/fs/cgroup/memory.max"},
	} {
		most, why := mostMessages(c.files)
		if _, of := memoryLimit(c.files); most != c.most || of != c.of {
			t.Errorf("%s: %d messages by %q (%s), want %d by %q", c.name, most, of, why, c.most, c.of)
		}
	}
	w := writer{}
	w.most, w.why = mostMessages(fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("10485760\n")})
	if err := w.checkMost(1024); !errors.Is(err, ErrFull) || err.Error() != "store is full: it has 1024 messages; they take half of the 10485760 bytes of /sys/fs/cgroup/memory.max (set Options.MaxMessages to allow more)" {
		t.Error(err)
	}
}

// TestMemoryCgroup fills a store in a memory cgroup. The store is full before the kernel
// kills the process, also on a kernel that charges only a part of each message.
func TestMemoryCgroup(t *testing.T) {
	const limit = 64 << 20
	procs, of := memoryCgroup(t, limit)
	inner := newHelper(t, nil, "fill", of, strconv.Itoa(limit/2/messageBytes))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", "echo $$ > " + procs + ` && exec "$0" "$@"`}, inner.Args...)...)
	cmd.Env, cmd.Stderr, cmd.Stdout = inner.Env, inner.Stderr, &strings.Builder{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitHelper(t, cmd)
}

// memoryCgroup makes a cgroup with a limit, of version 1 or 2.
func memoryCgroup(t *testing.T, limit int) (procs, of string) {
	t.Helper()
	for _, file := range []string{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"} {
		base, name := filepath.Split(file)
		if _, err := os.Stat(base + "cgroup.procs"); err != nil {
			continue // no cgroup: with version 1 the folder above all of them is an ordinary one
		}
		dir := filepath.Join(base, fmt.Sprintf("fdstore-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			// The process that was in it is reaped, and may be counted a little longer.
			for deadline := time.Now().Add(patience); os.Remove(dir) != nil && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
		})
		of = filepath.Join(dir, name)
		if _, err := os.Stat(of); err != nil {
			continue // the memory is not given to cgroups below this one
		}
		if os.WriteFile(of, []byte(strconv.Itoa(limit)), 0) == nil {
			return filepath.Join(dir, "cgroup.procs"), of
		}
	}
	skip(t, "needs a memory cgroup of its own")
	return "", ""
}

// helpFill adds until the store is full; args: the file that must be named, how many
// messages there are then.
func helpFill(args []string) error {
	s, err := New(Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	want, err := strconv.Atoi(args[1])
	for err == nil && s.Len() <= want {
		_, err = s.AddFDs([]int{0})
	}
	if errors.Is(err, ErrInFlight) {
		return needError{err.Error()}
	}
	if !errors.Is(err, ErrFull) || s.Len() != want || !strings.Contains(err.Error(), args[0]) {
		return fmt.Errorf("after %d messages, want %d: %w", s.Len(), want, err)
	}
	return nil
}
