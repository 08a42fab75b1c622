package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/vm/job"
)

// doRuns does all runs and reports them to the host.
func doRuns(runs []job.Run) error {
	p, err := openPort()
	if err != nil {
		return err
	}
	if err := tell(p, runs); err != nil {
		_ = p.send(job.Message{Kind: job.Error, Text: err.Error()})
		return err
	}
	return nil
}

func tell(p *port, runs []job.Run) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return os.NewSyscallError("uname", err)
	}
	if err := p.send(job.Message{Kind: job.Hello, Text: unix.ByteSliceToString(name.Release[:])}); err != nil {
		return err
	}
	go func() {
		for range time.Tick(job.AliveSeconds * time.Second) {
			_ = p.send(job.Message{Kind: job.Alive}) // the host notices
		}
	}()
	without := strings.Split(os.Getenv(job.Without), ",")
	for _, r := range runs {
		if slices.Contains(without, r.Name) {
			continue
		}
		if err := doRun(p, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return p.send(job.Message{Kind: job.Done})
}

// doRun starts a test binary twice: to list its tests, so that the host notices a lost
// test, and to run them.
func doRun(p *port, r job.Run) error {
	if err := p.send(job.Message{Kind: job.Start, Run: r.Name}); err != nil {
		return err
	}
	before, err := look()
	if err != nil {
		return err
	}
	var tests []string
	status, err := start(r, []string{"-test.list=^(Test|Fuzz|Example)"}, func(line string) error {
		if strings.HasPrefix(line, "Test") || strings.HasPrefix(line, "Fuzz") || strings.HasPrefix(line, "Example") {
			tests = append(tests, line)
		}
		return nil
	})
	if err != nil || status != 0 {
		return fmt.Errorf("list of tests: status %d, %w", status, err)
	}
	if err := p.send(job.Message{Kind: job.List, Run: r.Name, Tests: tests}); err != nil {
		return err
	}
	args := append([]string{"-test.v=test2json", "-test.timeout=" + r.Timeout.String()}, r.Args...)
	if r.Run != "" {
		args = append(args, "-test.run="+r.Run)
	}
	if r.Skip != "" {
		args = append(args, "-test.skip="+r.Skip)
	}
	status, err = start(r, args, func(line string) error {
		return p.send(job.Message{Kind: job.Line, Run: r.Name, Text: line})
	})
	if err != nil {
		return err
	}
	left, err := before.left()
	if err != nil {
		return err
	}
	return p.send(job.Message{Kind: job.End, Run: r.Name, Status: status, Left: left})
}

// start runs a test binary in a session of its own and returns its lines. It does not wait
// for processes that the binary leaves running and that keep its output open.
func start(r job.Run, args []string, line func(string) error) (status int, err error) {
	cmd := exec.Command(r.Binary, args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), r.Env...)
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	out, in, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	err = startOwn(cmd)
	in.Close()
	if err != nil {
		return 0, err
	}
	timer := time.AfterFunc(r.Timeout+time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	lines := make(chan error, 1)
	go func() { lines <- copyLines(out, line) }()
	if err := waitOwn(cmd); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			return 0, err
		}
	}
	if status = cmd.ProcessState.ExitCode(); status < 0 {
		if ws, ok := cmd.ProcessState.Sys().(unix.WaitStatus); ok {
			status = 128 + int(ws.Signal())
		}
	}
	if err := out.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return 0, err
	}
	if err := <-lines; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, err
	}
	return status, nil
}

// copyLines sends each line without its newline, also a last line without one.
func copyLines(r io.Reader, line func(string) error) error {
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			if err := line(strings.TrimSuffix(text, "\n")); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
