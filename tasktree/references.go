package tasktree

import (
	"fmt"
	"slices"
	"strings"

	"regrow/tasktree/schema"
)

// references resolves names.
type references struct{ *checker }

// resolve resolves the names of tasks and open files among the keys of open files and
// attributes.
func (c references) resolve() {
	var referrer schema.Referrer
	for _, f := range c.tree.Files {
		f.Refers, f.Needed, f.Named = nil, false, false
		if f.Spec == nil || c.files[f.Name] != f {
			continue
		}
		for _, ref := range referrer.Of(f.Spec) {
			to := c.reference(ref, f.Pos, (&KeyPath{Key: "files"}).Sub(f.Name))
			if to != nil && !slices.Contains(f.Refers, to) {
				f.Refers = append(f.Refers, to)
			}
		}
	}
	for _, task := range c.tree.tasks {
		task.EachAttribute(func(a Attribute) {
			for _, ref := range referrer.Of(a) {
				if to := c.reference(ref, task.Pos, c.paths[task.Index]); to != nil {
					to.Named = true
					to.need()
				}
			}
		})
	}
	for _, f := range c.tree.Files {
		if r, ok := f.Spec.(Related); ok && c.files[f.Name] == f {
			r.Relate(c.tree, func(p Problem) { c.problems.add(f.within(p)) })
		}
		if len(f.Uses) > 0 {
			f.need()
		}
	}
}

// reference resolves one name and reports unknown ones. It returns the open file, nil if
// the name is that of a task or unknown.
func (c references) reference(ref schema.Reference, pos Pos, path *KeyPath) *OpenFile {
	if ref.Name.Pos.IsValid() {
		pos = ref.Name.Pos
	}
	path = path.Sub(ref.Path)
	if ref.To == schema.ToTask {
		c.taskNamed(ref.Name.Value, pos, path)
		return nil
	}
	return c.fileNamed(ref.Name.Value, pos, path)
}

// need marks an open file, and the open files that it refers to, as needed.
func (f *OpenFile) need() {
	if f.Needed {
		return
	}
	f.Needed = true
	for _, to := range f.Refers {
		to.Named = true
		to.need()
	}
}

// taskNamed reports an unknown task.
func (c references) taskNamed(name string, pos Pos, path *KeyPath) {
	if c.tasks[name] != nil {
		return
	}
	hint := ""
	if best := c.nearest(name, c.taskNames()); best != "" {
		hint = fmt.Sprintf(" (did you mean %q%s?)", best, definedAt(c.tasks[best].Pos))
	}
	c.bad(pos, path, "unknown task %q%s", name, hint)
}

// fileNamed returns the open file with this name and end. If there is none, it reports a
// problem and returns nil.
func (c references) fileNamed(name string, pos Pos, path *KeyPath) *OpenFile {
	if named := c.named[name]; named != nil {
		return named
	}
	plain, _, _ := strings.Cut(name, ".")
	switch f := c.files[plain]; {
	case f == nil:
		hint := ""
		if best := c.nearest(name, c.ends); best != "" {
			hint = fmt.Sprintf(" (did you mean %q%s?)", best, definedAt(c.named[best].Pos))
		}
		c.bad(pos, path, "unknown open file %q%s", name, hint)
	case f.Spec == nil: // reported with the file
	case len(f.Spec.Ends()) == 0:
		c.bad(pos, path, "open file %q is %s and has no ends (write %q)", plain, WithArticle(f.Spec.Kind()), plain)
	default:
		c.bad(pos, path, "%q does not name an end of the %s %q; write %s", name, f.Spec.Kind(), plain, endNames(f))
	}
	return nil
}
