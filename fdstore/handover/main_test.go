//go:build linux

package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serverEnv is the variable that makes the test binary a server, and selects its
// behavior.
const serverEnv = "HANDOVER_TEST_SERVER"

// generationEnv counts the generations.
const generationEnv = "HANDOVER_TEST_GENERATION"

// patience is how long a test waits. It only ends a test that hangs: no result depends on
// how long something takes.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverEnv); kind != "" {
		if err := server(kind); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// markEnv is the variable with the path of a file that a failing generation makes.
const markEnv = "HANDOVER_TEST_MARK"

// server serves requests until TERM. HUP starts the next generation, and USR1 a next
// generation that fails.
func server(kind string) error {
	if kind == "fails" {
		return os.WriteFile(os.Getenv(markEnv), nil, 0o644)
	}
	p, err := Begin()
	if err != nil {
		return err
	}
	defer p.Close()
	l, err := p.Listen("web", "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1)
	ctx, end := context.WithCancel(context.Background())
	defer end()
	go follow(ctx, end, p, signals)
	if err := tell(l.Addr()); err != nil {
		return err
	}
	if err := p.Ready(); err != nil {
		return err
	}
	return Serve(ctx, &http.Server{Handler: handler()}, l, Options{})
}

// tell writes the address of the first generation for the test.
func tell(addr net.Addr) error {
	if os.Getenv(generationEnv) != "1" {
		return nil
	}
	_, err := fmt.Println(addr)
	return err
}

func follow(ctx context.Context, end func(), p *Process, signals <-chan os.Signal) {
	for s := range signals {
		kind := "serves"
		switch s {
		case unix.SIGTERM:
			end()
			continue
		case unix.SIGUSR1:
			kind = "fails"
		}
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), serverEnv+"="+kind, generationEnv+"="+os.Getenv(generationEnv)+"1")
		cmd.Stderr = os.Stderr
		if err := p.Next(ctx, cmd); err == nil {
			end()
		} else if !errors.Is(err, ErrNotReady) || kind != "fails" {
			fmt.Fprintln(os.Stderr, "next:", err)
		}
	}
}

// handler answers "GENERATION PID BODY", with the body of the request. The path /slow
// sends its answer in pieces.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d %d %s", len(os.Getenv(generationEnv)), os.Getpid(), body)
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		for range 20 {
			fmt.Fprint(w, strings.Repeat("x", 100))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Fprint(w, "end")
	})
	return mux
}
