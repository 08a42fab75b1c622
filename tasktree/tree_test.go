package tasktree_test

import (
	"testing"

	"regrow/tasktree"
)

func TestJoin(t *testing.T) {
	for _, c := range []struct{ name, dir, path, want string }{
		{"relative", "/srv/tree", "log", "/srv/tree/log"},
		{"relative to a relative folder", "tree", "log", "tree/log"},
		{"absolute", "/srv/tree", "/tmp/log", "/tmp/log"},
		{"current folder", "", "log", "log"},
		{"empty stays empty", "/srv/tree", "", ""},
		{"trailing slash stays", "/srv", "dir/", "/srv/dir/"},
		{"a link and its parent stay", "/srv", "link/../log", "/srv/link/../log"},
		{"in an absolute path, too", "/srv", "/a//link/../b/", "/a//link/../b/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&tasktree.Tree{Dir: c.dir}).Join(c.path); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPos(t *testing.T) {
	for _, c := range []struct {
		name  string
		pos   tasktree.Pos
		want  string
		valid bool
	}{
		{"none", tasktree.Pos{}, "", false},
		{"column alone", at(0, 7), "", false},
		{"line alone", at(3, 0), "3", true},
		{"both", at(3, 14), "3:14", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.pos.String(); got != c.want || c.pos.IsValid() != c.valid {
				t.Errorf("got %q, valid %v; want %q, %v", got, c.pos.IsValid(), c.want, c.valid)
			}
		})
	}
}

func TestOpenFile(t *testing.T) {
	a, b := task(1, "a"), task(2, "b")
	for _, c := range []struct {
		name   string
		uses   []tasktree.Use
		shared bool
	}{
		{"unused", nil, false},
		{"one use", []tasktree.Use{{Task: a}}, false},
		{"several of one task", []tasktree.Use{{Task: a}, {Task: a, FD: 1}, {Task: a, End: 1}}, false},
		{"two tasks", []tasktree.Use{{Task: a}, {Task: a, FD: 1}, {Task: b}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&tasktree.OpenFile{Uses: c.uses}).Shared(); got != c.shared {
				t.Errorf("shared %v, want %v", got, c.shared)
			}
		})
	}
	if got := file(1, "log", plain).EndName(0); got != "log" {
		t.Errorf("the only end of log goes by %q", got)
	}
	if got := file(1, "jobs", twoEnd).EndName(1); got != "jobs.w" {
		t.Errorf("the second end of jobs goes by %q", got)
	}
}

func TestHasNamespace(t *testing.T) {
	if tr := tree(nil); tr.HasNamespace(tasktree.NamespacePID) || !inPIDNamespace(tr).HasNamespace(tasktree.NamespacePID) {
		t.Error("HasNamespace must be true exactly if the namespace is listed")
	}
}
