package tasktree

import "path/filepath"

// Join gives a path of the description as the restoring process has to open
// it: relative ones start at the tree's Dir. It keeps what has a meaning to the
// kernel (a trailing slash, "x/.." through a symbolic link).
func (t *Tree) Join(path string) string {
	if filepath.IsAbs(path) || t.Dir == "" || path == "" {
		return path
	}
	return t.Dir + "/" + path
}
