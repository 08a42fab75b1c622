package tasktree

import "slices"

// Version is the version of descriptions that this model represents.
const Version = 1

// Tree is a process tree to restore. Fill in the exported fields (or let package images do
// it) and call [Tree.Check] before planning. A checked tree does not change any more;
// several goroutines may read it.
type Tree struct {
	Source     string          // name of the description, for messages: "tree.yaml", "<stdin>"
	Dir        string          // folder that relative paths start at; "" is the current one
	Namespaces []NamespaceItem // new namespaces for the whole tree
	Files      []*OpenFile     // in the order of the description
	Root       *Task
	Scenario   *Scenario // for regrow conflicts; nil if there is none

	tasks    []*Task // depth first, in the order of the description; set by Check
	byName   map[string]*OpenFile
	taskBy   map[string]*Task // by name
	warnings []Problem
	tallies  map[string]*tally // of Tally; nil: no open file is checked
	checking *OpenFile         // by its Spec
	given    []Given           // what Replace has replaced
}

// Namespace is a kind of namespace that a tree can have.
type Namespace string

// NamespacePID is a new pid namespace: the root is pid 1, and pids of the description are
// numbers in it. See pid_namespaces(7).
const NamespacePID Namespace = "pid"

// NamespaceUser is a new user namespace, in which the caller's user and group are 0 and
// all others are unknown. In it an ordinary user may create the other namespaces. See
// user_namespaces(7).
const NamespaceUser Namespace = "user"

// Namespaces lists the kinds of namespaces of a description.
var Namespaces = []Namespace{NamespacePID, NamespaceUser}

// NamespaceItem is one entry of the description's namespaces.
type NamespaceItem struct {
	Name Namespace
	Pos  Pos
}

// HasNamespace reports whether the tree has a new namespace of that kind.
func (t *Tree) HasNamespace(n Namespace) bool { return hasNamespace(t.Namespaces, n) }

// HasNamespace reports whether the task has a new namespace of that kind.
func (t *Task) HasNamespace(n Namespace) bool { return hasNamespace(t.Namespaces, n) }

func hasNamespace(items []NamespaceItem, n Namespace) bool {
	return slices.ContainsFunc(items, func(item NamespaceItem) bool { return item.Name == n })
}

// Tasks returns all tasks depth first in the order of the description, so a parent comes
// before its children. The index of a task is [Task.Index]. Tasks is nil before Check.
func (t *Tree) Tasks() []*Task { return t.tasks }

// NamespacePos returns the position at which the description asks for a namespace of that
// kind. It is not valid if the description does not.
func (t *Tree) NamespacePos(n Namespace) Pos {
	for _, item := range t.Namespaces {
		if item.Name == n {
			return item.Pos
		}
	}
	return Pos{}
}

// Warnings lists what Check found that is allowed but likely a mistake, such as an open
// file that no task uses. Sorted by position.
func (t *Tree) Warnings() []Problem { return t.warnings }

// TaskNamed returns the task of that name, or nil. It is nil before Check.
func (t *Tree) TaskNamed(name string) *Task { return t.taskBy[name] }

// FileNamed returns the open file of that name, or nil. It is nil before Check; the checks of
// specs see all names.
func (t *Tree) FileNamed(name string) *OpenFile { return t.byName[name] }
