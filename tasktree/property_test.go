package tasktree_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"regrow/tasktree"
	"regrow/test/drawn"
)

// TestCheckProperty checks random trees: half of them keep the rules, the others break
// many.
func TestCheckProperty(t *testing.T) { rapid.Check(t, checkProperty) }

func FuzzCheck(f *testing.F) { f.Fuzz(drawn.Fuzz(checkProperty)) }

func checkProperty(t *rapid.T) {
	d := drawer{T: t, clean: rapid.Bool().Draw(t, "clean")}
	tr := d.tree()
	problems := tr.Check()
	warnings := tr.Warnings()
	if d.clean && len(problems) > 0 {
		t.Fatalf("a tree that keeps the rules has problems: %v", problems)
	}
	for _, ps := range [][]tasktree.Problem{problems, warnings} {
		if !slices.IsSortedFunc(ps, func(a, b tasktree.Problem) int { return a.Pos.Compare(b.Pos) }) {
			t.Fatalf("not sorted: %v", ps)
		}
	}

	uses := map[*tasktree.OpenFile][]tasktree.Use{}
	for _, task := range tr.Tasks() {
		for _, fd := range task.FDs {
			if fd.Open == nil {
				if len(problems) == 0 {
					t.Fatalf("descriptor %d of %q has no open file, and there is no problem", fd.FD, task.Name)
				}
				continue
			}
			if name := fd.Open.EndName(fd.End); name != fd.File.Value {
				t.Fatalf("descriptor %d of %q names %q and got %q", fd.FD, task.Name, fd.File.Value, name)
			}
			uses[fd.Open] = append(uses[fd.Open], tasktree.Use{Task: task, FD: fd.FD, End: fd.End})
		}
	}
	for i, f := range tr.Files {
		if !slices.Equal(f.Uses, uses[f]) || f.Index != i {
			t.Fatalf("file %d %q: index %d, %d uses; want %d uses", i, f.Name, f.Index, len(f.Uses), len(uses[f]))
		}
	}
	if again := tr.Check(); !slices.Equal(problems, again) || !slices.Equal(warnings, tr.Warnings()) {
		t.Fatalf("the second Check differs: %v", again)
	}
}

// drawer makes random trees.
type drawer struct {
	*rapid.T
	clean bool // keep the rules
	ends  []string
	tasks []*tasktree.Task
}

func (d *drawer) pos() tasktree.Pos {
	return at(rapid.IntRange(0, 20).Draw(d.T, "line"), rapid.IntRange(0, 5).Draw(d.T, "col"))
}

// name returns the n-th valid name or, if the tree may break rules, any name.
func (d *drawer) name(n int) string {
	bad := rapid.SampledFrom([]string{"", ".", "f0", "f1.r", "f0.", "-", "\x00", "é"})
	if !d.clean && rapid.IntRange(0, 3).Draw(d.T, "bad name") == 0 {
		return bad.Draw(d.T, "name")
	}
	return fmt.Sprintf("f%d", n)
}

func (d *drawer) tree() *tasktree.Tree {
	tr := &tasktree.Tree{}
	if rapid.Bool().Draw(d.T, "namespace") {
		tr.Namespaces = append(tr.Namespaces, tasktree.NamespaceItem{Name: tasktree.NamespacePID, Pos: d.pos()})
	}
	if !d.clean {
		for range rapid.IntRange(0, 2).Draw(d.T, "more namespaces") {
			name := rapid.SampledFrom([]tasktree.Namespace{"", "pid", "net"}).Draw(d.T, "namespace")
			tr.Namespaces = append(tr.Namespaces, tasktree.NamespaceItem{Name: name, Pos: d.pos()})
		}
	}
	for i := range rapid.IntRange(0, 5).Draw(d.T, "files") {
		tr.Files = append(tr.Files, d.file(i))
	}
	least := 0
	if d.clean {
		least = 1
	}
	for i := range rapid.IntRange(least, 8).Draw(d.T, "tasks") {
		task := d.task(i, tr.HasNamespace(tasktree.NamespacePID))
		if i > 0 {
			parent := rapid.SampledFrom(d.tasks).Draw(d.T, "parent")
			parent.Children = append(parent.Children, task)
		}
		d.tasks = append(d.tasks, task)
	}
	if len(d.tasks) > 0 {
		tr.Root = d.tasks[0]
	}
	return tr
}

func (d *drawer) file(i int) *tasktree.OpenFile {
	f := &tasktree.OpenFile{Name: d.name(i), Pos: d.pos()}
	spec := rapid.SampledFrom([]fake{plain, twoEnd}).Draw(d.T, "spec")
	if rapid.Bool().Draw(d.T, "warns") {
		spec.warnings = []tasktree.Problem{{Pos: d.pos(), Path: "w"}}
	}
	if f.Spec = spec; !d.clean {
		switch rapid.IntRange(0, 5).Draw(d.T, "wrong spec") {
		case 0:
			f.Spec = nil
			return f
		case 1:
			spec.problems = []tasktree.Problem{{Pos: d.pos(), Path: "p"}}
			f.Spec = spec
		}
	}
	for end := range max(1, len(spec.ends)) {
		d.ends = append(d.ends, f.EndName(end))
	}
	return f
}

func (d *drawer) task(i int, inNamespace bool) *tasktree.Task {
	t := &tasktree.Task{Name: d.name(i), Pos: d.pos(), EnvClear: rapid.Bool().Draw(d.T, "env_clear")}
	if rapid.Bool().Draw(d.T, "pid") && (i > 0 || inNamespace) {
		t.PID = tasktree.Number{Value: int64(i + 1), Pos: d.pos()}
	}
	if !d.clean && rapid.Bool().Draw(d.T, "any pid") {
		t.PID = tasktree.Number{Value: rapid.Int64Range(-1, tasktree.MaxPID+1).Draw(d.T, "pid"), Pos: d.pos()}
	}
	for range rapid.IntRange(0, 4).Draw(d.T, "arguments") {
		t.Run = append(t.Run, tasktree.Text{Value: d.value("x"), Pos: d.pos()})
	}
	for range rapid.IntRange(0, 2).Draw(d.T, "variables") {
		t.Env = append(t.Env, tasktree.EnvVar{Name: d.value("V"), Value: d.value("v"), Pos: d.pos()})
	}
	t.Cwd = tasktree.Text{Value: d.value("/"), Pos: d.pos()}

	numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 6, rapid.ID[int]).Draw(d.T, "fds")
	if !d.clean {
		numbers = rapid.SliceOfN(rapid.IntRange(-1, 4), 0, 6).Draw(d.T, "any fds")
	}
	for _, n := range numbers {
		if d.clean && len(d.ends) == 0 {
			break
		}
		fd := tasktree.Descriptor{FD: n, Pos: d.pos(), File: tasktree.Text{Value: d.name(n), Pos: d.pos()}}
		if d.clean || len(d.ends) > 0 && rapid.Bool().Draw(d.T, "known") {
			fd.File.Value = rapid.SampledFrom(d.ends).Draw(d.T, "end")
		}
		t.FDs = append(t.FDs, fd)
	}
	return t
}

// value returns good or, if the tree may break rules, perhaps a bad value.
func (d *drawer) value(good string) string {
	if d.clean {
		return good
	}
	return rapid.SampledFrom([]string{good, good, "", "a=b", "\x00"}).Draw(d.T, "value")
}
