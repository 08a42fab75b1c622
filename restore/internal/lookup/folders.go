package lookup

import (
	"cmp"
	"iter"
	"path/filepath"
	"strings"

	"regrow/tasktree"
)

// folders has those of one PATH, since most tasks have the same.
type folders struct {
	path     string
	dirs     []string
	relative bool // one of them depends on the task's folder
}

// of gives the folders of a PATH, each once: what was not there is not there.
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

// paths goes through the paths where a task's program may be, in the order in
// which they are tried, each with a NUL behind it and there until the next. They are
// absolute where that is possible, because the task has changed its folder by then.
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
				dir = cmp.Or(dir, ".") // an empty one means the task's own
				dir = strings.TrimSuffix(withoutDots(folder+"/"+dir+"/"), "/")
			}
			path = append(append(path, dir...), '/')
			if path = append(append(path, name...), 0); !yield(path) {
				return
			}
		}
	}
}

// withoutDots leaves out of a path what means nothing: "/x/./y" is /x/y, which a
// script sees as its name. A dot at the end stays, and so does "..", which means
// to the kernel the folder above what a link leads to.
func withoutDots(path string) string {
	for strings.Contains(path, "/./") {
		path = strings.ReplaceAll(path, "/./", "/")
	}
	return path
}
