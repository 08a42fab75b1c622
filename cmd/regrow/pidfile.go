package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// pidFile is a file for the root's pid. It is opened before the restore begins,
// so that what is wrong with it is known in time, and written at release.
type pidFile struct {
	f    *os.File
	path string
	made bool // by us
}

// openPIDFile opens or makes a regular file. nil is for no path.
func openPIDFile(path string) (*pidFile, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no file was asked for, and nil is one that does nothing
	}
	p := &pidFile{path: path}
	// O_NONBLOCK: opening a FIFO must not wait for its reader.
	const flags = os.O_WRONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	var err error
	if p.f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o644); err == nil {
		p.made = true
		return p, nil
	}
	if errors.Is(err, fs.ErrExist) {
		_, there := os.Stat(path)
		p.f, err = os.OpenFile(path, flags|os.O_CREATE, 0o644)
		p.made = errors.Is(there, fs.ErrNotExist) // where a link leads
	}
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	if real, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.f.Fd())); err == nil {
		p.path = real // behind links; remove looks whether it is that
	}
	if st, err := p.f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = p.f.Close()
		return nil, fmt.Errorf("pid file: %s is not a regular file", path)
	}
	return p, nil
}

// write puts the pid into the file.
func (p *pidFile) write(pid int) error {
	if p == nil {
		return nil
	}
	err := p.f.Truncate(0)
	if err == nil {
		_, err = p.f.WriteAt(fmt.Appendf(nil, "%d\n", pid), 0)
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// remove removes the file if it is still the one that was written.
func (p *pidFile) remove() {
	if p == nil {
		return
	}
	ours, err1 := p.f.Stat()
	there, err2 := os.Lstat(p.path)
	if err1 == nil && err2 == nil && os.SameFile(ours, there) {
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
