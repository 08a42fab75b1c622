package lookup

import (
	"cmp"
	"iter"
	"path/filepath"
	"strings"

	"regrow/tasktree"
)

// folders caches the folders of one PATH, because most tasks have the same PATH.
type folders struct {
	path     string
	dirs     []string
	relative bool // one of them is relative to the task's folder
}

// of returns the folders of a PATH without duplicates.
func (f *folders) of(path string) []string {
	if f.path != path || f.dirs == nil {
		*f = folders{path: path}
		seen := map[string]bool{}
		for dir := range strings.SplitSeq(path, ":") {
			if !seen[dir] {
				seen[dir] = true
				f.dirs = append(f.dirs, dir)
				f.relative = f.relative || !filepath.IsAbs(dir)
			}
		}
	}
	return f.dirs
}

// paths yields the paths at which a task's program may be, in the order in which they
// are tried. Each ends with a NUL and is valid until the next one. They are absolute if
// possible, because the task has already changed its folder when it tries them.
func paths(t *tasktree.Tree, cwd string, task *tasktree.Task, folders []string) iter.Seq[[]byte] {
	absolute := func(p string) string {
		if !filepath.IsAbs(p) && cwd != "" {
			p = strings.TrimSuffix(cwd, "/") + "/" + p
		}
		return withoutDots(p)
	}
	name := task.Run[0].Value
	if strings.Contains(name, "/") {
		return func(yield func([]byte) bool) { yield([]byte(absolute(t.Join(name)) + "\x00")) }
	}
	folder := absolute(".")
	if task.Cwd.Value != "" {
		folder = strings.TrimRight(absolute(t.Join(task.Cwd.Value)), "/")
	}
	return func(yield func([]byte) bool) {
		var path []byte
		for _, dir := range folders {
			path = path[:0]
			if !filepath.IsAbs(dir) {
				dir = cmp.Or(dir, ".") // an empty entry is the task's folder
				dir = strings.TrimSuffix(withoutDots(folder+"/"+dir+"/"), "/")
			}
			path = append(append(path, dir...), '/')
			if path = append(append(path, name...), 0); !yield(path) {
				return
			}
		}
	}
}

// withoutDots removes "." elements from a path: "/x/./y" becomes /x/y, which a script
// sees as its name. A final dot stays, and so does "..", which leads to the folder
// above the target of a link.
func withoutDots(path string) string {
	for strings.Contains(path, "/./") {
		path = strings.ReplaceAll(path, "/./", "/")
	}
	return path
}
