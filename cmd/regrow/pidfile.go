package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// pidFile is a file for the root's pid. It is opened before the restore begins, so
// that errors are known in time, and written at release.
//
// Several regrows may use the same path. The last one that writes owns the file: only
// the regrow whose pid is in it removes it, or, before any of them has written, the
// one that made it. Each checks and changes the file under a lock (flock(2)). On a
// file system without locks a small race remains.
type pidFile struct {
	f     *os.File
	given string // the path that the caller gave
	path  string // the path of the file, after all links
	made  bool   // this process has made the file
	wrote string // the text that this process has written, "" for nothing yet
}

// openPIDFile opens or makes a regular file. It returns nil for an empty path.
func openPIDFile(path string) (*pidFile, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // all methods do nothing on nil
	}
	p := &pidFile{given: path}
	if err := p.open(); err != nil {
		return nil, err
	}
	return p, nil
}

// open opens the file, or makes it.
func (p *pidFile) open() error {
	// O_NONBLOCK: opening a FIFO must not wait for its reader.
	const flags = unix.O_NONBLOCK | unix.O_NOCTTY
	p.path, p.made = p.given, false
	f, err := os.OpenFile(p.given, flags|os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		p.f, p.made = f, true
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		_, there := os.Stat(p.given)
		f, err = os.OpenFile(p.given, flags|os.O_RDWR|os.O_CREATE, 0o644)
		if errors.Is(err, fs.ErrPermission) { // it need not be readable, but then remove leaves it
			f, err = os.OpenFile(p.given, flags|os.O_WRONLY|os.O_CREATE, 0o644)
		}
		p.made = errors.Is(there, fs.ErrNotExist) // the path was a dangling link
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	p.f = f
	if real, err := proc.FDLink(proc.Caller, int(f.Fd())); err == nil {
		p.path = real
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return fmt.Errorf("pid file: %s is not a regular file", p.given)
	}
	return nil
}

// write writes the pid to the file. If another process has removed or replaced the
// file, write opens or makes it again.
func (p *pidFile) write(pid int) error {
	if p == nil {
		return nil
	}
	const tries = 10
	for range tries {
		unlock := p.lock()
		if p.inPlace() {
			defer unlock()
			text := fmt.Sprintf("%d\n", pid)
			err := p.f.Truncate(0)
			if err == nil {
				_, err = p.f.WriteAt([]byte(text), 0)
			}
			if err != nil {
				return fmt.Errorf("pid file: %w", err)
			}
			p.wrote = text
			return nil
		}
		unlock()
		_ = p.f.Close()
		if err := p.open(); err != nil {
			return err
		}
	}
	return fmt.Errorf("pid file: another process keeps removing or replacing %s", p.given)
}

// remove removes the file if the path still leads to it, and if it still contains what
// this process has written.
func (p *pidFile) remove() {
	if p == nil || p.wrote == "" && !p.made {
		return
	}
	defer p.lock()()
	if p.inPlace() && p.has(p.wrote) {
		_ = os.Remove(p.path)
	}
}

// giveUp removes the file if opening has made it.
func (p *pidFile) giveUp() {
	if p != nil && p.made {
		p.remove()
	}
}

func (p *pidFile) close() {
	if p != nil {
		_ = p.f.Close()
	}
}

// inPlace reports whether the path still leads to the open file.
func (p *pidFile) inPlace() bool {
	ours, err1 := p.f.Stat()
	there, err2 := os.Lstat(p.path)
	return err1 == nil && err2 == nil && os.SameFile(ours, there)
}

// has reports whether the file contains exactly this text.
func (p *pidFile) has(text string) bool {
	got := make([]byte, len(text)+1)
	n, err := p.f.ReadAt(got, 0)
	return errors.Is(err, io.EOF) && string(got[:n]) == text
}

// lock locks the file against other regrows and returns the function that unlocks it.
// A program may keep a lock on its pid file as long as it lives, so lock gives up after
// half a second and returns without a lock.
func (p *pidFile) lock() (unlock func()) {
	const patience, pause = 50, 10 * time.Millisecond
	for range patience {
		err := unix.Flock(int(p.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			f := p.f
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break // this file system has no locks
		}
		time.Sleep(pause) //nolint:forbidigo // flock has no timeout
	}
	return func() {}
}
