package postfork

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"regrow/test/rounds"
)

const ours = "regrow/restore/internal/postfork."

// rawCalls are the functions that end in a system call and nothing else: no
// scheduler, no split of the stack.
var rawCalls = map[string]bool{
	"syscall.RawSyscall6":                     true,
	"internal/runtime/syscall.Syscall6":       true, // up to Go 1.25
	"internal/runtime/syscall/linux.Syscall6": true,
}

// TestCalls reads the machine code of regrow in each way to build: what a task
// runs after the fork calls only functions of this package and the raw system
// call. So it never meets the Go runtime, which is not there any more: no split
// of a stack, no write barrier, no panic of an index.
func TestCalls(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Fatal(err)
	}
	// The first two are what `make build` and `go build` make. Others take a minute
	// each where nothing of them is in the cache.
	builds := []struct {
		name string
		env  []string
		args []string
	}{
		{"plain", nil, nil},
		{"without cgo", []string{"CGO_ENABLED=0"}, nil},
		{"pie", nil, []string{"-buildmode=pie"}},
		{"cover", nil, []string{"-cover"}},
		{"race", []string{"CGO_ENABLED=1"}, []string{"-race"}},
		{"not optimized", nil, []string{"-gcflags=all=-N -l"}},
		{"amd64 v3", []string{"GOARCH=amd64", "GOAMD64=v3", "CGO_ENABLED=0"}, nil},
		{"arm64", []string{"GOARCH=arm64", "CGO_ENABLED=0"}, nil},
		{"arm64, not optimized", []string{"GOARCH=arm64", "CGO_ENABLED=0"}, []string{"-gcflags=all=-N -l"}},
	}
	drawn := rounds.Draw(t, len(builds), 2, 0)
	for i, b := range builds {
		t.Run(b.name, func(t *testing.T) {
			drawn.Need(t, i)
			if b.name == "race" && runtime.GOARCH != "amd64" {
				t.Skip("the race detector is not there on every system")
			}
			binary := filepath.Join(t.TempDir(), "regrow")
			cmd := exec.Command("go", append(append([]string{"build", "-o", binary}, b.args...), "regrow/cmd/regrow")...)
			cmd.Env = append(os.Environ(), b.env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			checkCalls(t, binary)
		})
	}
}

var (
	functionLine = regexp.MustCompile(`^TEXT ([^(\s]+(?:\([^)]*\)[^(\s]*)?)\(SB\)`)
	callLine     = regexp.MustCompile(`\t(CALL|JMP) ([^\s].*?)\s*$`)
	symbol       = regexp.MustCompile(`^([^\s]+)\(SB\)$`)
)

func checkCalls(t *testing.T, binary string) {
	t.Helper()
	out, err := exec.Command("go", "tool", "objdump", "-s", "^"+regexp.QuoteMeta(ours), binary).CombinedOutput()
	if err != nil {
		t.Fatalf("objdump: %v\n%.500s", err, out)
	}
	calls := map[string]map[string]bool{}
	name := ""
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		if m := functionLine.FindStringSubmatch(line); m != nil {
			name = m[1]
			calls[name] = map[string]bool{}
			continue
		}
		if m := callLine.FindStringSubmatch(line); m != nil && name != "" {
			if s := symbol.FindStringSubmatch(m[2]); s != nil {
				calls[name][s[1]] = true
			} else if m[1] == "CALL" {
				calls[name]["indirect: "+m[2]] = true
			}
		}
	}
	todo, seen := []string{ours + "interp", ours + "interpTraced"}, map[string]bool{}
	for len(todo) > 0 {
		name, todo = todo[0], todo[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		targets, ok := calls[name]
		if !ok {
			t.Errorf("%s is not in the binary", name)
		}
		for _, target := range slices.Sorted(maps.Keys(targets)) {
			switch {
			case rawCalls[target]:
			case name == ours+"forkBy" && strings.HasPrefix(target, "indirect: "): // Head.Fork, in assembly
			case strings.HasPrefix(target, ours):
				todo = append(todo, strings.TrimSuffix(target, ".abi0"))
			default:
				t.Errorf("%s calls %s", name, target)
			}
		}
	}
	// The walk must have found them, or it proves nothing.
	for _, want := range []string{"pull", "take", "arrives", "meet", "fork", "clone", "forkBy", "hold", "fail", "stage", "clock", "sequence", "find", "ofProcess", "reopen"} {
		if !seen[ours+want] {
			t.Errorf("%s is not among what a task calls: %v", want, slices.Sorted(maps.Keys(seen)))
		}
	}
	t.Log(fmt.Sprint(len(seen)), "functions")
}
