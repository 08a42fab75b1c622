package images

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// document decodes the top mapping.
func (d *decoder) document(v node) {
	v = v.target()
	got := v.known("a mapping with version, namespaces, files and tasks",
		[]string{"version", "namespaces", "files", "tasks", "caller", "expect"}, []string{"version", "tasks"})
	if version, ok := got.get("version"); ok {
		n, ok := version.digits(strconv.Itoa(tasktree.Version), 0, math.MaxInt32)
		if ok && n.Value != tasktree.Version {
			version.bad("version %d is unknown; this regrow reads version %d", n.Value, tasktree.Version)
		}
	}
	if v, ok := got.get("namespaces"); ok {
		for _, item := range v.items("a list of namespaces, such as [pid]") {
			if t, ok := item.text("the name of a namespace"); ok {
				d.tree.Namespaces = append(d.tree.Namespaces, tasktree.NamespaceItem{Name: tasktree.Namespace(t.Value), Pos: t.Pos})
			}
		}
	}
	if f, ok := got.find("files"); ok {
		if r := d.take(f); r != nil {
			d.tree.Files = r.files
		} else {
			d.files(f.value)
		}
	}
	if v, ok := got.get("tasks"); ok {
		d.roots(v)
	}
	if v, ok := got.get("caller"); ok {
		d.caller(v)
	}
	if v, ok := got.get("expect"); ok {
		d.expect(v)
	}
}

// files decodes the open files.
func (d *decoder) files(v node) {
	for _, f := range v.fields("a mapping from names to open files") {
		file := &tasktree.OpenFile{Name: f.name, Pos: f.key.pos()}
		if file.Spec = f.value.spec(); file.Spec == nil {
			d.broken[f.name] = true
		}
		d.tree.Files = append(d.tree.Files, file)
	}
}

// spec decodes one open file by its kind, nil if it has none.
func (v node) spec() tasktree.Spec {
	entries := v.fields("a mapping with a type (" + strings.Join(kind.Names(), ", ") + ")")
	for _, f := range entries {
		if f.name != "type" {
			continue
		}
		name, ok := f.value.text("a kind of open file (" + strings.Join(kind.Names(), ", ") + ")")
		if !ok {
			return nil
		}
		k, ok := kind.Lookup(name.Value)
		if !ok {
			f.value.bad("unknown type %q%s; expected one of %s", abbreviate(name.Value),
				v.d.meantKind(name.Value), strings.Join(kind.Names(), ", "))
			return nil
		}
		d := &kindDecoder{v: v}
		for _, e := range entries {
			switch {
			case e.name == "type":
			case slices.Contains(k.Keys, e.name):
				d.got = append(d.got, e)
			default:
				v.d.report(e.key.pos(), e.value, "unknown key %q%s; %s has the keys %s", abbreviate(e.name),
					v.d.didYouMean(e.name, k.Keys), tasktree.WithArticle(k.Name), strings.Join(append([]string{"type"}, k.Keys...), ", "))
			}
		}
		broken := false
		for _, key := range k.Required {
			if _, ok := d.got.get(key); !ok {
				v.bad("the key %q is missing", key)
				broken = true
			}
		}
		before := len(v.d.problems)
		spec := k.Decode(d)
		if broken || len(v.d.problems) > before {
			return brokenSpec{spec}
		}
		return spec
	}
	if entries != nil {
		v.bad("the key %q is missing; it is one of %s", "type", strings.Join(kind.Names(), ", "))
	}
	return nil
}

// brokenSpec is a kind whose values did not all decode. Its ends are known, so
// descriptors that name them are no further problems; its rules would only
// repeat what was reported.
type brokenSpec struct{ tasktree.Spec }

// Check implements [tasktree.Spec].
func (brokenSpec) Check(*tasktree.Tree, func(tasktree.Problem)) {}

// roots decodes the list with the one root task.
func (d *decoder) roots(v node) {
	for i, item := range v.items("a list with one root task") {
		task := d.task(item)
		if i == 0 {
			d.tree.Root = task
			continue
		}
		item.bad("a second root task; a tree has one root, and the others are its children")
	}
	if v.list() && len(v.n.Content) == 0 {
		v.bad("the list is empty; a tree has one root task")
	}
}

var taskKeys = []string{"name", "pid", "fds", "children", "run", "env", "env_clear", "cwd", "shares"}

// task decodes a task and everything below it.
func (d *decoder) task(v node) *tasktree.Task {
	task := &tasktree.Task{Pos: v.pos(), Alias: v.alias()}
	got := v.known("a task (a mapping with name, fds and so on)", taskKeys, []string{"name"})
	if name, ok := got.get("name"); ok {
		task.Pos, task.Alias = name.pos(), name.alias()
		if t, ok := name.text("the task's name"); ok {
			task.Name = t.Value
		}
	}
	if task.Name == "" {
		task.Name = d.placeholder()
	}
	if v, ok := got.get("pid"); ok {
		task.PID, _ = v.integer("a pid", 1, tasktree.MaxPID)
	}
	if v, ok := got.get("fds"); ok {
		d.descriptors(v, task)
	}
	if v, ok := got.get("run"); ok {
		d.program(v, task)
	}
	if v, ok := got.get("env"); ok {
		for _, f := range v.fields("a mapping from names of variables to values, such as {LANG: C}") {
			if t, ok := f.value.arg("a variable's value"); ok {
				task.Env = append(task.Env, tasktree.EnvVar{Name: f.name, Value: t.Value, Pos: f.key.pos()})
			}
		}
	}
	if v, ok := got.get("env_clear"); ok {
		task.EnvClear = v.boolean()
	}
	if v, ok := got.get("cwd"); ok {
		task.Cwd, _ = v.text("the path of a folder")
	}
	if v, ok := got.get("shares"); ok {
		shares := v.known("a mapping of what the task shares, such as {files: TASK}", []string{"files"}, []string{"files"})
		if files, ok := shares.get("files"); ok {
			task.SharesFiles, _ = files.text("the name of the task whose descriptor table this one has")
		}
	}
	if f, ok := got.find("children"); ok {
		if r := d.take(f); r != nil {
			task.Children = r.tasks
			return task
		}
		for _, item := range f.value.items("a list of tasks") {
			task.Children = append(task.Children, d.task(item))
		}
	}
	return task
}

// placeholder names a task whose name did not decode, so that the rules do not
// find the same problem again.
func (d *decoder) placeholder() string {
	return fmt.Sprintf("unnamed-%d", len(d.problems))
}

// program decodes what a task runs.
func (d *decoder) program(v node, task *tasktree.Task) {
	task.RunPos = v.pos()
	items := v.items("a list of the program and its arguments, such as [ls, -l]")
	if !v.list() {
		return
	}
	task.Run = []tasktree.Text{}
	for i, item := range items {
		var t tasktree.Text
		var ok bool
		if i == 0 {
			t, ok = item.text("a program")
		} else {
			t, ok = item.arg(`an argument ("" for an empty one)`)
		}
		if !ok {
			t = tasktree.Text{Value: "?", Pos: item.pos()} // reported
		}
		task.Run = append(task.Run, t)
	}
}

// descriptors decodes a task's table.
func (d *decoder) descriptors(v node, task *tasktree.Task) {
	entries := v.fields("a mapping from descriptors to open files, such as {1: log}")
	task.FDs = make([]tasktree.Descriptor, 0, len(entries))
	for _, f := range entries {
		n, err := strconv.Atoi(f.name)
		if err != nil || !decimal(f.name) || n > tasktree.MaxFD {
			v.d.report(f.key.pos(), f.value, "%q is not a descriptor; write a number from 0 to %d, without a sign or leading zero",
				abbreviate(f.name), tasktree.MaxFD)
			continue
		}
		desc := tasktree.Descriptor{FD: n, Pos: f.key.pos()}
		ok := false
		if f.value.n.Kind == mappingNode {
			desc, ok = d.descriptor(f.value, desc)
		} else {
			desc.File, ok = f.value.text("the name of an open file, or {file: NAME, cloexec: true}")
		}
		if name, _, _ := strings.Cut(desc.File.Value, "."); ok && !d.broken[name] {
			task.FDs = append(task.FDs, desc)
		}
	}
}

// descriptor decodes the long form of a descriptor.
func (d *decoder) descriptor(v node, desc tasktree.Descriptor) (tasktree.Descriptor, bool) {
	got := v.known("an open file", []string{"file", "cloexec"}, []string{"file"})
	if c, ok := got.get("cloexec"); ok {
		desc.Cloexec = c.boolean()
	}
	file, ok := got.get("file")
	if !ok {
		return desc, false
	}
	desc.File, ok = file.text("the name of an open file")
	return desc, ok
}
