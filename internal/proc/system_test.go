package proc

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSystem asks this machine what every machine answers.
func TestSystem(t *testing.T) {
	if most, err := Sys("kernel/pid_max"); err != nil || second(strconv.Atoi(most)) != nil {
		t.Errorf("pid_max: %q, %v", most, err)
	}
	for kind, want := range map[string]bool{"proc": true, "nonesuch": false} {
		if got, err := HasFilesystem(kind); err != nil || got != want {
			t.Errorf("file system %s: %v, %v", kind, got, err)
		}
	}
	all, err := All()
	if err != nil || !slices.Contains(all, os.Getpid()) {
		t.Errorf("processes: %v, %v", all, err)
	}
	if n, err := Threads(os.Getuid()); err != nil || n < 1 {
		t.Errorf("threads: %d, %v", n, err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self", &st); err != nil {
		t.Fatal(err)
	}
	mounts, err := Mounts("proc")
	if err != nil || !slices.ContainsFunc(mounts, func(m Mount) bool { return m.Point == "/proc" && m.Root == "/" && m.Dev == st.Dev }) {
		t.Errorf("mounts: %v, %v", mounts, err)
	}
	if err := Readable(); err != nil {
		t.Error(err)
	}
}

func TestParseMounts(t *testing.T) {
	for _, bad := range []string{"36 22 0:21 / - proc proc rw\n", "36 22 8 / /proc rw - proc proc rw\n"} {
		if got, err := parseMounts(bad, "proc"); err == nil {
			t.Errorf("%q gives %v", bad, got)
		}
	}
	got, err := parseMounts("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n38 22 0:21 /4711/net /mnt/a\\040b\\134c rw - proc - and\\040more rw\n", "proc")
	if want := []Mount{{Dev: 21, Root: "/4711/net", Point: `/mnt/a b\c`}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
