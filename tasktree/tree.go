package tasktree

import "slices"

// Version is the version of the description that this model stands for.
const Version = 1

// Tree is a process tree to restore. Fill in the exported fields (or let
// package images do it) and call [Tree.Check] before planning. A checked tree
// is not changed any more and may be read by several goroutines.
type Tree struct {
	Source     string          // name of the description, for messages: "tree.yaml", "<stdin>"
	Dir        string          // folder that relative paths start at; "" is the current one
	Namespaces []NamespaceItem // new namespaces for the whole tree
	Files      []*OpenFile     // in the order of the description
	Root       *Task
	Scenario   *Scenario // what regrow conflicts is to know beside the tree; nil: nothing

	tasks    []*Task // depth first, in the order of the description; set by Check
	byName   map[string]*OpenFile
	taskBy   map[string]*Task // by name
	warnings []Problem
	given    []Given // what Replace has replaced
}

// Namespace is a kind of namespace that a tree can be given for itself.
type Namespace string

// NamespacePID gives the tree pid numbers of its own: its root is pid 1 and
// pids of the description are numbers in it. See pid_namespaces(7).
const NamespacePID Namespace = "pid"

// NamespaceUser gives the tree a user namespace of its own, in which the caller's
// user and group are 0 and all others are unknown. It lets an ordinary user have
// the other namespaces, too. See user_namespaces(7).
const NamespaceUser Namespace = "user"

// Namespaces lists the kinds that a description may ask for.
var Namespaces = []Namespace{NamespacePID, NamespaceUser}

// NamespaceItem is one entry of the description's namespaces.
type NamespaceItem struct {
	Name Namespace
	Pos  Pos
}

// HasNamespace reports whether the tree gets a new namespace of that kind.
func (t *Tree) HasNamespace(n Namespace) bool { return hasNamespace(t.Namespaces, n) }

// HasNamespace reports whether the task begins with a new namespace of that kind.
func (t *Task) HasNamespace(n Namespace) bool { return hasNamespace(t.Namespaces, n) }

func hasNamespace(items []NamespaceItem, n Namespace) bool {
	return slices.ContainsFunc(items, func(item NamespaceItem) bool { return item.Name == n })
}

// Tasks lists all tasks depth first in the order of the description, so a
// parent comes before its children. The position in it is [Task.Index]. It is
// nil before Check.
func (t *Tree) Tasks() []*Task { return t.tasks }

// NamespacePos gives the place that asks for a namespace of that kind; it is not
// valid if none does.
func (t *Tree) NamespacePos(n Namespace) Pos {
	for _, item := range t.Namespaces {
		if item.Name == n {
			return item.Pos
		}
	}
	return Pos{}
}

// Warnings lists what Check found that is allowed but likely not meant, such as
// an open file that no task uses. Sorted by position.
func (t *Tree) Warnings() []Problem { return t.warnings }

// TaskNamed gives the task of that name, or nil. It is nil before Check.
func (t *Tree) TaskNamed(name string) *Task { return t.taskBy[name] }

// FileNamed gives the open file of that name, or nil. It is nil before Check.
func (t *Tree) FileNamed(name string) *OpenFile { return t.byName[name] }
