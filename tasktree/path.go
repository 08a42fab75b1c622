package tasktree

import (
	"path/filepath"
	"regexp"
	"strings"
)

// Join returns a path of the description as the restoring process opens it: a relative
// path starts at the tree's Dir. It does not clean the path, since a trailing slash and
// "x/.." behind a symbolic link have a meaning.
func (t *Tree) Join(path string) string {
	if filepath.IsAbs(path) || t.Dir == "" || path == "" {
		return path
	}
	return t.Dir + "/" + path
}

// selfPath matches the paths that mean a different file in each process.
var selfPath = regexp.MustCompile(`^(proc/(self|thread-self)|dev/(fd|tty|std[^/]*))$`)

// AnotherProcess reports why a path cannot be opened on behalf of another process, or
// "" if it can.
func AnotherProcess(path string) string {
	if !filepath.IsAbs(path) {
		return ""
	}
	// The kernel follows a link before "..", so /dev/fd/../x is below /proc/self. So each
	// prefix of the path must be checked.
	top, depth := "", 0
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			depth = max(0, depth-1)
			continue
		case depth == 0:
			top = part
		case depth > 1 || !selfPath.MatchString(top+"/"+part):
		case part == "tty":
			return "would mean the controlling terminal of another process; use {type: inherit, key: stdin} for the caller's terminal"
		default:
			return "would mean another process; use {type: inherit, key: ...} for a descriptor of the caller's"
		}
		depth++
	}
	return ""
}

// plainPath matches paths that need no quotes in a description.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9_.]*/[A-Za-z0-9_/.-]*$`)

// define returns a hint how to define an open file with this name. Many people write a
// path in place of a name.
func define(name string) string {
	const longest = 64 // bytes; a longer name is not repeated
	switch key := strings.TrimPrefix(name, "/dev/"); {
	case key == "stdin" || key == "stdout" || key == "stderr":
		return " (define it under files: {type: inherit, key: " + key + "})"
	case len(name) <= longest && plainPath.MatchString(name) && AnotherProcess(name) == "":
		return " (define a name for it under files: {type: reg, path: " + name + "})"
	}
	return " (define it under files)"
}
