package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exampleEnv is the variable that makes the test binary run the example.
const exampleEnv = "HANDOVER_EXAMPLE"

const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(exampleEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestExample checks what the comment of the example says: after a HUP another process
// answers and the previous one ends with status 0, and a TERM ends the last one.
func TestExample(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "127.0.0.1:0")
	cmd.Env = append(os.Environ(), exampleEnv+"=1", "GORACE=atexit_sleep_ms=0")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := []int{cmd.Process.Pid}
	t.Cleanup(func() {
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // needed only if the test fails
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
		log.Close()
	})
	lines := bufio.NewScanner(log)
	address := serves(t, lines, pids[0])
	for range 2 {
		old := pids[len(pids)-1]
		if err := unix.Kill(old, unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		var next int
		if _, err := fmt.Sscanf(regexp.MustCompile(`pid \d+`).FindString(lines.Text()), "pid %d", &next); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		pids = append(pids, next)
		ends(t, old)
		pids = pids[len(pids)-1:]
		if body := get(t, address); body != fmt.Sprintf("hello from pid %d\n", next) {
			t.Errorf("%q, want that of pid %d", body, next)
		}
	}
	if err := unix.Kill(pids[0], unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, pids[0])
	pids = nil
}

// serves waits until the first process prints where it listens.
func serves(t *testing.T, lines *bufio.Scanner, pid int) (address string) {
	t.Helper()
	if !lines.Scan() {
		t.Fatal(lines.Err())
	}
	_, address, ok := strings.Cut(lines.Text(), fmt.Sprintf("pid %d serves ", pid))
	if !ok {
		t.Fatalf("%q", lines.Text())
	}
	if body := get(t, address); body != fmt.Sprintf("hello from pid %d\n", pid) {
		t.Errorf("%q", body)
	}
	return address
}

func get(t *testing.T, address string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// ends waits for a process that is a child of this one, or becomes one.
func ends(t *testing.T, pid int) {
	t.Helper()
	var status unix.WaitStatus
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		switch {
		case got == pid && status.Exited() && status.ExitStatus() == 0:
			return
		case got == pid:
			t.Fatalf("pid %d ended with status %#x", pid, int(status))
		case err != nil && !errors.Is(err, unix.EINTR):
			t.Fatal(err)
		case time.Now().After(deadline):
			t.Fatalf("pid %d does not end", pid)
		}
	}
}
