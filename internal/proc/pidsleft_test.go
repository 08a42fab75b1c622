package proc

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCgroupRoom has hierarchies of both versions.
func TestCgroupRoom(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for at, limits := range map[string][2]string{
		"":              {"200", "31"}, // a container sees its own cgroup at the top
		"/user":         {"max", "20"},
		"/user/a":       {"12", "8"},
		"/user/a/b":     {"max", "3"},
		"/pids":         {"50", "1"},
		"/pids/session": {"30", "40"},
	} {
		write(at+"/pids.max", limits[0]+"\n")
		write(at+"/pids.current", limits[1]+"\n")
	}
	for _, c := range []struct {
		list string
		want int
	}{
		{"0::/\n", 169},
		{"0::/user\n", 169},
		{"0::/user/a/b\n", 4},
		{"0::/elsewhere/x\n", 169},
		{"5:memory:/user/a\n8:pids:/\n0::/\n", 49},
		{"8:pids:/session\n", -10},
		{"4:memory:/user/a\n", Unlimited},
		{"0::", 169},
		{"", Unlimited},
		{"\n::\n", Unlimited},
	} {
		if got := cgroupRoom(ParseCgroups(c.list), dir); got != c.want {
			t.Errorf("%q: room for %d, want %d", c.list, got, c.want)
		}
	}
}

func BenchmarkPidsLeft(b *testing.B) {
	for b.Loop() {
		PidsLeft()
	}
}
