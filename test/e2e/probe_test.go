package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// buildProbe builds the program that prints its environment, limits and signals.
func buildProbe(t *testing.T) string {
	t.Helper()
	if path := ready("probe"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "probe")
	out, err := exec.Command("cc", "-O2", "-static", "-o", path, "probe/probe.c").CombinedOutput()
	if err != nil {
		need(t, fmt.Sprintf("a C compiler and a static libc (%v: %s)", err, out))
	}
	return path
}

// lines returns the lines that have one of the keys.
func lines(text string, keys ...string) []string {
	var found []string
	for line := range strings.Lines(text) {
		key, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if slices.Contains(keys, key) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// TestProbeInside runs the probe in a tree, for unusual callers, and compares its output
// with that of a probe started by a shell: limits and umask must be the caller's, signals
// must be default.
func TestProbeInside(t *testing.T) {
	probe := buildProbe(t)
	for _, namespaces := range []string{"[]", "[user]"} {
		t.Run(namespaces, func(t *testing.T) { probeInside(t, probe, namespaces) })
	}
}

func probeInside(t *testing.T, probe, namespaces string) {
	path := write(t, `version: 1
namespaces: `+namespaces+`
files:
  out: {type: inherit, key: stdout}
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
tasks:
  - name: root
    fds: {0: null}
    run: [sh, -c, 'exec sleep 1000']
    children:
      - name: probe
        fds: {0: null, 1: out, 2: null, 9: out, 40: {file: out, cloexec: true}}
        run: [`+probe+`, one, "two words"]
        env: {A: "b c"}
        env_clear: true
        cwd: /usr
      - name: end # ends the tree when the probe has said all: nobody reaps it
        fds: {0: null, 1: null, 2: null}
        run: [sh, -c, 'until grep -q "^State:.*zombie" $(printf "/proc/%s/status " $(cat /proc/$PPID/task/$PPID/children)); do sleep 0.01; done; kill $PPID']
`)
	for _, caller := range []string{
		"true",
		"ulimit -Sn 1024",
		"ulimit -Sn 64; ulimit -Hn 512",
		"ulimit -c 0; ulimit -s 4096; ulimit -v 4000000",
		"umask 777",
		"umask 0; trap '' HUP INT QUIT TERM USR1 USR2 PIPE CHLD TSTP TTOU",
		"exec 4</dev/null 5>&1 6</etc/passwd",
		"nice -n 5 true; cd /; exec 3<&- 4<&-",
	} {
		t.Run(caller, func(t *testing.T) {
			plain, err := exec.Command("sh", "-c", caller+"; exec "+probe).Output()
			if err != nil {
				t.Fatal(err)
			}
			r := start(t, caller, "restore", path)
			res := wait(t, r)
			if res.status != 128+int(unix.SIGTERM) {
				t.Fatalf("status %d: %s", res.status, res.errors)
			}
			for _, key := range []string{"limit", "umask", "dumpable", "nonewprivs"} {
				want, got := lines(string(plain), key), lines(res.out, key)
				if len(want) == 0 || !slices.Equal(want, got) {
					t.Errorf("%s: got %q, want the caller's %q", key, got, want)
				}
			}
			got := lines(res.out, "fd", "threads", "mask", "ignored", "caught", "altstack", "pdeathsig", "subreaper", "argv", "env", "cwd")
			rdwr := "100002" // O_RDWR and the kernel's O_LARGEFILE
			if runtime.GOARCH == "arm64" {
				rdwr = "400002"
			}
			want := []string{
				"fd 0 " + rdwr + " 0", "fd 1 " + rdwr + " 0", "fd 2 " + rdwr + " 0", "fd 9 " + rdwr + " 0",
				"threads 1", "mask 0", "altstack off", "pdeathsig 0", "subreaper 0",
				"argv 0 " + probe, "argv 1 one", "argv 2 two words", "env A=b c", "cwd /usr",
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// TestHeldLimits checks the limits of held tasks.
func TestHeldLimits(t *testing.T) {
	path := write(t, "version: 1\ntasks: [{name: a, children: [{name: b}]}]\n")
	r := start(t, "ulimit -Sn 100; ulimit -c 0; ulimit -s 1024", "restore", "-d", "--json", path)
	res := wait(t, r)
	rep := report(t, res)
	defer endTree(t)
	for _, task := range rep.Tasks {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", task.HostPID))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Max open files", "Max core file size", "Max stack size"} {
			_, rest, _ := strings.Cut(string(limits), want)
			soft := strings.Fields(rest)[0]
			if expect := map[string]string{"Max open files": "100", "Max core file size": "0", "Max stack size": "1048576"}[want]; soft != expect {
				t.Errorf("task %s: %s: %s, want %s", task.Name, want, soft, expect)
			}
		}
	}
}

// TestHighestNumber installs the highest number that the hard limit allows, under
// soft limits below it.
func TestHighestNumber(t *testing.T) {
	path := write(t, "version: 1\nfiles: {n: {type: reg, path: /dev/null}, z: {type: reg, path: /dev/zero}}\n"+
		"tasks: [{name: a, fds: {255: n}, children: [{name: b, fds: {255: z, 0: n}}]}]\n")
	for _, soft := range []int{64, 254, 255, 256} {
		rep := report(t, wait(t, start(t, fmt.Sprintf("ulimit -Sn %d; ulimit -Hn 256", soft), "restore", "-d", "--json", path)))
		for _, p := range prove(wantOf(t, path), rep) {
			t.Errorf("soft limit %d: %s", soft, p)
		}
		for _, task := range rep.Tasks {
			limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", task.HostPID))
			if want := fmt.Sprintf("Max open files            %-21d256 ", soft); err != nil || !strings.Contains(string(limits), want) {
				t.Errorf("soft limit %d, task %s: no %q in %s (%v)", soft, task.Name, want, limits, err)
			}
		}
		endTree(t)
	}
}
