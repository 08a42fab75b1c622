package tasktree

import (
	"path/filepath"
	"regexp"
	"strings"
)

// Join gives a path of the description as the restoring process has to open
// it: relative ones start at the tree's Dir. It keeps what has a meaning to the
// kernel (a trailing slash, "x/.." through a symbolic link).
func (t *Tree) Join(path string) string {
	if filepath.IsAbs(path) || t.Dir == "" || path == "" {
		return path
	}
	return t.Dir + "/" + path
}

// selfPath matches what would be another file for each process that opens it.
var selfPath = regexp.MustCompile(`^(proc/(self|thread-self)|dev/(fd|tty|std[^/]*))$`)

// AnotherProcess says why a path cannot be opened on behalf of somebody else,
// or "" if it can.
func AnotherProcess(path string) string {
	if !filepath.IsAbs(path) {
		return ""
	}
	// The kernel follows a link before it takes "..", so /dev/fd/../x is below
	// /proc/self: each beginning of the path counts. What begins with such a
	// folder has at some point been at it.
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

// plainPath matches paths that need no quotes in any place of a description.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9_.]*/[A-Za-z0-9_/.-]*$`)

// define says how a name that no open file has would get one. Many people write
// the file itself.
func define(name string) string {
	const longest = 64 // bytes of what is worth repeating
	switch key := strings.TrimPrefix(name, "/dev/"); {
	case key == "stdin" || key == "stdout" || key == "stderr":
		return " (define it under files: {type: inherit, key: " + key + "})"
	case len(name) <= longest && plainPath.MatchString(name) && AnotherProcess(name) == "":
		return " (define a name for it under files: {type: reg, path: " + name + "})"
	}
	return " (define it under files)"
}
