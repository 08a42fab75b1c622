package execcheck

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// script parses a #! line like load_script of fs/binfmt_script.c (unchanged since Linux
// 5.10):
//
//	#! \t /bin/interpreter \t one argument, spaces and all \t \n
//	      ^name             ^sep  ^arg                      ^end
//
// The kernel reads only the first 256 bytes. A line that does not end there is valid if
// the name does; the argument is cut off.
func script(buf *[HeadSize]byte) Verdict {
	const none, cut = "its #! line has no interpreter", "the interpreter in its #! line does not end within the first 256 bytes"
	line := buf[2:]
	end := newline(line)
	if end < 0 {
		name := skip(line)
		if name == len(line) {
			return Verdict{Err: unix.ENOEXEC, Why: none}
		}
		if name+terminator(line[name:]) == len(line) {
			return Verdict{Err: unix.ENOEXEC, Why: cut}
		}
		end = len(line) - 1 // the last byte is overwritten by a NUL
	}
	for end > 0 && blank(line[end-1]) {
		end--
	}
	line = line[:end]
	name := skip(line)
	if name == len(line) {
		return Verdict{Err: unix.ENOEXEC, Why: none}
	}
	line = line[name:]
	v := Verdict{Script: true}
	sep := terminator(line)
	v.Interpreter = string(line[:sep])
	if v.Interpreter == "" { // a NUL; the kernel opens the empty path, which is the current folder
		return Verdict{Err: unix.EACCES, Why: none}
	}
	if sep < len(line) && line[sep] != 0 {
		arg := line[sep:]
		v.Arg, v.HasArg = text(arg[skip(arg):]), true
	}
	return v
}

// newline returns the index of the line's end, -1 if there is none before the first NUL.
func newline(line []byte) int {
	if nul := bytes.IndexByte(line, 0); nul >= 0 {
		line = line[:nul]
	}
	return bytes.IndexByte(line, '\n')
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// skip returns the index of the first byte that is neither a space nor a tab.
func skip(line []byte) int {
	i := 0
	for i < len(line) && blank(line[i]) {
		i++
	}
	return i
}

// terminator returns the index of the first space, tab or NUL.
func terminator(line []byte) int {
	i := 0
	for i < len(line) && !blank(line[i]) && line[i] != 0 {
		i++
	}
	return i
}

// text returns the bytes before the first NUL.
func text(b []byte) string {
	if nul := bytes.IndexByte(b, 0); nul >= 0 {
		b = b[:nul]
	}
	return string(b)
}
