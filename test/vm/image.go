package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/cavaliergopher/cpio"
)

// image is an initramfs that is being assembled: entries by their path in the guest,
// without a leading slash. A later entry replaces an earlier one.
type image struct {
	entries map[string]entry
}

// entry is a file of the host, or a link or a text if it has no file.
type entry struct {
	file string
	mode cpio.FileMode
	text string
}

func newImage() *image { return &image{entries: map[string]entry{}} }

// add adds a file, a link or a folder of the host unchanged.
func (m *image) add(name, file string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	perm := cpio.FileMode(info.Mode().Perm())
	for special, bit := range map[os.FileMode]cpio.FileMode{os.ModeSetuid: cpio.ModeSetuid, os.ModeSetgid: cpio.ModeSetgid, os.ModeSticky: cpio.ModeSticky} {
		if info.Mode()&special != 0 {
			perm |= bit
		}
	}
	switch info.Mode().Type() {
	case 0:
		m.put(name, entry{file: file, mode: cpio.TypeReg | perm})
	case os.ModeDir:
		m.put(name, entry{mode: cpio.TypeDir | perm})
	case os.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		m.link(name, target)
	default:
		return fmt.Errorf("%s: neither a file, a folder nor a link", file)
	}
	return nil
}

func (m *image) link(name, target string) {
	m.put(name, entry{mode: cpio.TypeSymlink | 0o777, text: target})
}

func (m *image) folder(name string) { m.put(name, entry{mode: cpio.TypeDir | 0o755}) }

func (m *image) text(name, text string) { m.put(name, entry{mode: cpio.TypeReg | 0o644, text: text}) }

// put adds an entry and its parent folders.
func (m *image) put(name string, e entry) {
	m.entries[name] = e
	for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if _, ok := m.entries[dir]; !ok {
			m.entries[dir] = entry{mode: cpio.TypeDir | 0o755}
		}
	}
}

// write writes the image in the kernel's format. Folders come before their contents,
// because a path sorts before all paths that it is a prefix of. Everything belongs to root.
func (m *image) write(w io.Writer) error {
	out := cpio.NewWriter(w)
	for i, name := range slices.Sorted(maps.Keys(m.entries)) {
		if err := m.entries[name].write(out, name, int64(i+1)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return out.Close()
}

func (e entry) write(out *cpio.Writer, name string, inode int64) error {
	h := &cpio.Header{Name: name, Mode: e.mode, Links: 1, Inode: inode, Size: int64(len(e.text))}
	if e.file == "" { // the target of a link is stored like the content of a file
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.WriteString(out, e.text)
		return err
	}
	f, err := os.Open(e.file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(out, f, h.Size)
	return err
}
