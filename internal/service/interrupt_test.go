package service

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/test/interrupt"
)

const interruptedEnv = "SERVICE_TEST_INTERRUPTED"

// TestInterrupted has each call of an owner, of a client and of the service interrupted
// once.
func TestInterrupted(t *testing.T) {
	calls := []uint32{unix.SYS_SETSOCKOPT, unix.SYS_RECVMSG, unix.SYS_SENDMSG, unix.SYS_EPOLL_PWAIT, unix.SYS_WAITID}
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), interruptedEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = out, out
	p, err := interrupt.Start(cmd, calls...)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Errorf("%v: %s", err, text)
	}
	rep := p.Stop()
	for _, nr := range calls[:3] { // the runtime may wait by other calls
		if rep.Interrupted[nr] < 2 {
			t.Errorf("call %d was interrupted %d times", nr, rep.Interrupted[nr])
		}
	}
	t.Log(rep)
}

// beInterrupted pushes files, and pops them through two channels.
func beInterrupted(dir string) error {
	const files = 20
	s, err := Start(Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	for i := range files {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			return err
		}
		if _, err := f.WriteString(strconv.Itoa(i)); err != nil {
			return err
		}
		if err := s.Push(ID(i), int(f.Fd())); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	if err := s.Seal(); err != nil {
		return err
	}
	channel, err := Open(s.Door(), s.Number(), 0)
	if err != nil {
		return err
	}
	defer channel.Close()
	for i := range files {
		for _, c := range []*Channel{s.Channel, channel} {
			f, err := c.Pop(ID(i))
			if err != nil {
				return err
			}
			var b [8]byte
			n, _ := f.ReadAt(b[:], 0)
			if err := f.Close(); err != nil {
				return err
			}
			if string(b[:n]) != strconv.Itoa(i) {
				return fmt.Errorf("file %d is %q", i, b[:n])
			}
		}
	}
	return nil
}
