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

// pidFile is a file for the root's pid. It is opened before the restore begins,
// so that what is wrong with it is known in time, and written at release.
//
// Others may use the same path, since nothing forbids that. Whoever writes last
// has the file: it is removed only by the one whose pid it has, or, before
// anybody has written, by the one who made it. Each looks and acts under a lock
// of the file (flock(2)); where a file system has none a small gap is left.
type pidFile struct {
	f     *os.File
	given string // the path that the caller gave
	path  string // where that led, behind links
	made  bool   // by us
	wrote string // what we have written, "" for nothing yet
}

// openPIDFile opens or makes a regular file. nil is for no path.
func openPIDFile(path string) (*pidFile, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no file was asked for, and nil is one that does nothing
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
		if errors.Is(err, fs.ErrPermission) { // it need not be readable; then it stays
			f, err = os.OpenFile(p.given, flags|os.O_WRONLY|os.O_CREATE, 0o644)
		}
		p.made = errors.Is(there, fs.ErrNotExist) // where a link leads
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

// write puts the pid into the file. If somebody has removed that meanwhile, or put
// another in its place, it is the one that is there now.
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
	return fmt.Errorf("pid file: %s is removed as soon as it is there", p.given)
}

// remove removes the file if it is the one that was written, and has what was
// written.
func (p *pidFile) remove() {
	if p == nil || p.wrote == "" && !p.made {
		return
	}
	defer p.lock()()
	if p.inPlace() && p.has(p.wrote) {
		_ = os.Remove(p.path)
	}
}

// giveUp undoes what opening has done.
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

// has reports whether this is all that the file holds.
func (p *pidFile) has(text string) bool {
	got := make([]byte, len(text)+1)
	n, err := p.f.ReadAt(got, 0)
	return errors.Is(err, io.EOF) && string(got[:n]) == text
}

// lock keeps other regrows from looking at the file, and gives what ends that. A
// program may hold a lock of its pid file as long as it lives: so there is none
// where it does not come soon.
func (p *pidFile) lock() (unlock func()) {
	const patience, pause = 50, 10 * time.Millisecond
	for range patience {
		err := unix.Flock(int(p.f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			f := p.f
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			break // no locks here
		}
		time.Sleep(pause) //nolint:forbidigo // nothing tells of a lock that is let go
	}
	return func() {}
}
