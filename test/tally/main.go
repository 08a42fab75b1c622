// Command tally runs tests and prints at the end how many there were, and why some were
// skipped, which `go test` of several packages does not print.
//
//	go run ./test/tally -count=1 ./...       as go test -count=1 ./...
//	go run ./test/tally -missing FILE ./...  which tests are not on a list
//
// The list has the tests that have passed in runs with REGROW_TEST_RECORD=FILE, on the host
// and in virtual machines. A test that is not on it has never run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/test/record"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	ok, err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (ok bool, err error) {
	if len(args) > 0 && args[0] == "-missing" {
		if len(args) < 3 {
			return false, errors.New("-missing needs a file and packages")
		}
		return missing(ctx, out, args[1], args[2:])
	}
	return test(ctx, out, args)
}

// test runs go test with arguments.
func test(ctx context.Context, out io.Writer, args []string) (ok bool, err error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // it then ends the tests
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	sum := newSum(out)
	decodeErr := sum.takeAll(events)
	waitErr := cmd.Wait()
	sum.print()
	err = errors.Join(decodeErr, record.Passed(sum.record...), ctx.Err())
	if _, failed := errors.AsType[*exec.ExitError](waitErr); !failed {
		err = errors.Join(err, waitErr)
	}
	return waitErr == nil && sum.failed == 0, err
}

// missing prints the tests of packages that are not on a list.
func missing(ctx context.Context, out io.Writer, list string, packages []string) (ok bool, err error) {
	passed, err := record.Read(list)
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json", "-list", "^(Test|Example|Fuzz)"}, packages...)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return false, fmt.Errorf("go test -list: %w\n%s", err, text)
	}
	all, err := listed(strings.NewReader(string(text)))
	if err != nil {
		return false, err
	}
	n := 0
	for _, t := range all {
		if !passed[t] {
			n++
			_, _ = fmt.Fprintf(out, "%s: %s has not passed anywhere\n", t.Package, t.Name)
		}
	}
	_, _ = fmt.Fprintf(out, "%d tests: %d have passed somewhere, %d nowhere\n", len(all), len(all)-n, n)
	return n == 0 && len(all) > 0, nil
}

// listed reads what go test -json -list prints.
func listed(events io.Reader) (tests []record.Test, err error) {
	for dec := json.NewDecoder(events); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return tests, nil
		} else if err != nil {
			return nil, err
		}
		name := strings.TrimSpace(e.Output)
		for _, prefix := range []string{"Test", "Example", "Fuzz"} {
			if e.Action == "output" && strings.HasPrefix(name, prefix) && !strings.ContainsAny(name, " \t") {
				tests = append(tests, record.Test{Package: e.Package, Name: name})
			}
		}
	}
}
