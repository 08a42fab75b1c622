package images

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"regrow/tasktree"
)

// Input is an opened description, and what its path says about it.
type Input struct {
	*os.File

	Source string // its name in messages
	Dir    string // the folder at which its relative paths start; "" is the current one

	// Once: the description cannot be read again by its path. It is standard input, a
	// FIFO, a socket or a terminal, or the path names a descriptor (/dev/stdin,
	// /dev/fd/N, <(...) of a shell).
	Once bool

	// Stdin: the description is read from descriptor 0, which a tree then cannot inherit.
	Stdin bool
}

// Open opens a description. "-" is standard input, which Close leaves open. The relative
// paths of a description that can be read only once start at the current folder. The error
// is that of opening.
func Open(path string) (*Input, error) {
	if path == "-" {
		return &Input{File: os.Stdin, Source: "<stdin>", Once: true, Stdin: true}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("images: %w", err)
	}
	in := &Input{File: f, Source: path, Dir: filepath.Dir(path)}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("images: %w", err)
	}
	fd, given := descriptor(path)
	if given || streams(info) {
		in.Dir, in.Once = "", true
	}
	in.Stdin = given && (fd == 0 || samePipe(info))
	return in, nil
}

// ReadOnce reports whether a description cannot be read again by its path: see [Input.Once].
// It opens nothing.
func ReadOnce(path string) bool {
	if _, given := descriptor(path); given || path == "-" {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && streams(info)
}

// streams reports whether reading a file consumes its data.
func streams(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeCharDevice) != 0
}

// Close closes the description.
func (in *Input) Close() error {
	if in.File == os.Stdin {
		return nil
	}
	return in.File.Close()
}

// Decode decodes the description as [Decode] does.
func (in *Input) Decode() (*tasktree.Tree, error) { return Decode(in.File, in.Source, in.Dir) }

// fdFolder matches the folders in /proc of the descriptors of a process or thread.
var fdFolder = regexp.MustCompile(`^/proc/([0-9]+)(/task/[0-9]+)?/fd$`)

// descriptor reports whether a path leads to a descriptor in /proc, and returns its number,
// or -1 if it is another process's.
func descriptor(path string) (fd int, given bool) {
	const links = 40 // MAXSYMLINKS of the kernel
	for range links {
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return 0, false
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return 0, false
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return 0, false
		}
		if in := fdFolder.FindStringSubmatch(dir); in != nil {
			fd, err := strconv.Atoi(filepath.Base(path))
			if err != nil || in[1] != strconv.Itoa(os.Getpid()) {
				return -1, true
			}
			return fd, true
		}
		target, err := os.Readlink(path)
		if err != nil {
			return 0, false
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return 0, false
}

// samePipe reports whether a file is the pipe or socket that is descriptor 0.
func samePipe(info fs.FileInfo) bool {
	stdin, err := os.Stdin.Stat()
	return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 && os.SameFile(info, stdin)
}
