package main

import (
	"os"
	"strings"
	"testing"
)

// TestLacking checks that everything that is missing is reported in one line with the names
// of the packages, before anything is downloaded or built.
func TestLacking(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		if m := models[arch]; m.pkg == "" || needs(arch)[0].pkg != m.pkg {
			t.Errorf("%s: package %q of %s is not needed", arch, m.pkg, m.program)
		}
	}
	there := need{"a", "a-pkg", func() error { return nil }}
	not := func(name string) need { return need{name, name + "-pkg", func() error { return os.ErrNotExist }} }
	if err := lacking([]need{there, there}); err != nil {
		t.Errorf("all is there: %v", err)
	}
	err := lacking([]need{there, not("b"), not("c")})
	if err == nil || err.Error() != "machines need b, c; install with: apt-get install b-pkg c-pkg" {
		t.Errorf("got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", "")
	_, err = options{arch: "amd64", kernels: "all", packages: everything}.do(t.Context())
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "apt-get install qemu-system-x86 ") {
		t.Errorf("without any program: %v", err)
	}
	if left, _ := os.ReadDir(os.Getenv("HOME")); len(left) > 0 {
		t.Errorf("it has begun with %v", left)
	}
}
