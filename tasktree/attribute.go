package tasktree

import (
	"slices"
	"strings"

	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Attribute is the value of one attribute of a task, or of a few that belong together.
// Package tasktree/attr has them, one group in each file.
type Attribute interface {
	// Fields binds the attribute's keys, which are keys of the task.
	schema.Fielder

	// Key returns the first of the keys. It identifies the attribute.
	Key() string

	// Said reports whether the description sets the attribute. If it does not, the task
	// has the caller's value.
	Said() bool

	// Check reports problems. The path of a problem begins with the attribute's key.
	Check(t *Task, report func(Problem))

	// Wire writes the task's calls, each in its stage.
	Wire(w recipe.Wirer)
}

// NeedyAttribute is an [Attribute] that needs something of the host.
type NeedyAttribute interface {
	// Host lists the needs.
	Host() []recipe.Need
}

// ReadableAttribute is an [Attribute] that can be read from a live task.
type ReadableAttribute interface {
	// Read sets the value to that of a live task, as if a description set it. It
	// disturbs nothing.
	Read(l LiveTask) error
}

// LiveTask is a live task as an attribute reads it. Errors are those of /proc and of
// system calls.
type LiveTask interface {
	// Status returns a field of /proc/PID/status, "" if the kernel does not have it.
	Status(field string) (string, error)

	// Nice returns the nice value, -20 to 19.
	Nice() (int, error)
}

// AttributeKind describes an attribute, without a value.
type AttributeKind struct {
	Keys []string // in a description; the first one is its name

	// Of returns the attribute of a task if its data is a part of [Task]. Otherwise Of
	// is nil, and New makes an empty attribute for Task.Attributes.
	Of  func(t *Task) Attribute
	New func() Attribute
}

// attributeKinds is written by the init functions of package attr, and only read
// after that.
var attributeKinds []AttributeKind

// RegisterAttribute adds a kind. Only package attr calls it.
func RegisterAttribute(k AttributeKind) {
	attributeKinds = append(attributeKinds, k)
	slices.SortFunc(attributeKinds, func(a, b AttributeKind) int { return strings.Compare(a.Keys[0], b.Keys[0]) })
}

// AttributeKinds returns all kinds, sorted by name.
func AttributeKinds() []AttributeKind { return attributeKinds }

// Attribute returns the task's attribute of that kind, nil if Attributes has none.
func (t *Task) Attribute(k AttributeKind) Attribute {
	if k.Of != nil {
		return k.Of(t)
	}
	for _, a := range t.Attributes {
		if a.Key() == k.Keys[0] {
			return a
		}
	}
	return nil
}

// EachAttribute calls f for each attribute that the description sets, in the order of
// their names.
func (t *Task) EachAttribute(f func(Attribute)) {
	for _, k := range attributeKinds {
		if a := t.Attribute(k); a != nil && a.Said() {
			f(a)
		}
	}
}

// attributes checks the attributes of a task.
func (c *checker) attributes(task *Task, path *KeyPath) {
	task.EachAttribute(func(a Attribute) {
		a.Check(task, func(p Problem) {
			if !p.Pos.IsValid() {
				p.Pos = task.Pos
			}
			p.Path = strings.TrimSuffix(path.String()+"."+p.Path, ".")
			c.problems.add(p)
		})
	})
}
