package tasktree

import (
	"slices"
	"strings"

	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Attribute is what a description says of one attribute of a task, or of a few
// that belong together. Package tasktree/attr has them, one group a file.
type Attribute interface {
	// Fields binds its keys, which are keys of the task.
	schema.Fielder

	// Key gives the first of its keys, by which it is found.
	Key() string

	// Said reports whether the description says anything of it. A task without
	// has what the caller has.
	Said() bool

	// Check reports what is wrong. Path in what it reports begins with the key.
	Check(t *Task, report func(Problem))

	// Wire writes the calls that the task makes, each in its stage.
	Wire(w recipe.Wirer)
}

// NeedyAttribute is an [Attribute] for which the host must have something.
type NeedyAttribute interface {
	// Host lists what that is.
	Host() []recipe.Need
}

// ReadableAttribute is an [Attribute] that a live task shows.
type ReadableAttribute interface {
	// Read takes the value of a live task, as one that is said. It disturbs nothing.
	Read(l LiveTask) error
}

// LiveTask is a live task as an attribute may see it. The errors are those of /proc
// and of the calls.
type LiveTask interface {
	// Status gives a field of /proc/PID/status, "" where the kernel has none.
	Status(field string) (string, error)

	// Nice gives the nice value, -20 to 19.
	Nice() (int, error)
}

// AttributeKind is what regrow knows of an attribute beside its data.
type AttributeKind struct {
	Keys []string // in a description, the first one is its name

	// Of gives the attribute of a task whose data is a part of [Task]; nil where
	// it is not, and New makes an empty one for Task.Attributes.
	Of  func(t *Task) Attribute
	New func() Attribute
}

// attributeKinds is written by the init functions of package attr and only read
// afterwards.
var attributeKinds []AttributeKind

// RegisterAttribute is for package attr: it adds a kind.
func RegisterAttribute(k AttributeKind) {
	attributeKinds = append(attributeKinds, k)
	slices.SortFunc(attributeKinds, func(a, b AttributeKind) int { return strings.Compare(a.Keys[0], b.Keys[0]) })
}

// AttributeKinds lists them by their names.
func AttributeKinds() []AttributeKind { return attributeKinds }

// Attribute gives the attribute of that kind, nil if the task says nothing of it.
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

// EachAttribute calls f for each attribute that the task says something of, by
// name.
func (t *Task) EachAttribute(f func(Attribute)) {
	for _, k := range attributeKinds {
		if a := t.Attribute(k); a != nil && a.Said() {
			f(a)
		}
	}
}

// attributes checks what the attributes of a task say.
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
