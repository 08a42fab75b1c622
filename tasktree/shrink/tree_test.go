package shrink

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"regrow/tasktree"
	"regrow/tasktree/attr"
	"regrow/tasktree/kind"
)

func text(s string) tasktree.Text { return tasktree.Text{Value: s} }

// show prints the relevant parts of a tree, one task a line.
func show(t *tasktree.Tree) string {
	var b strings.Builder
	for _, n := range t.Namespaces {
		fmt.Fprintf(&b, "namespace %s\n", n.Name)
	}
	for _, f := range t.Files {
		fmt.Fprintf(&b, "file %s %s\n", f.Name, f.Spec.Kind())
	}
	for _, task := range t.Tasks() {
		fmt.Fprint(&b, "task ", task.Name)
		if task.Parent != nil {
			fmt.Fprint(&b, " of ", task.Parent.Name)
		}
		for _, d := range task.FDs {
			fmt.Fprintf(&b, " %d=%s", d.FD, d.File.Value)
			if d.Cloexec {
				fmt.Fprint(&b, "*")
			}
		}
		if task.PID.Value != 0 {
			fmt.Fprintf(&b, " pid %d", task.PID.Value)
		}
		if task.Sharer() {
			fmt.Fprint(&b, " shares with ", task.Owner.Name)
		}
		fmt.Fprintf(&b, " run %v env %v %v cwd %s\n", task.Run, task.Env, task.EnvClear, task.Cwd.Value)
	}
	return b.String()
}

// drawTree makes a random checked tree with everything that can be left out.
func drawTree(t *rapid.T) *tasktree.Tree {
	tree := &tasktree.Tree{Source: "random.yaml"}
	var ends []string
	for i := range rapid.IntRange(1, 8).Draw(t, "files") {
		name := fmt.Sprintf("f%d", i)
		var spec tasktree.Spec = &kind.Reg{Path: text("/dev/null")}
		ends = append(ends, name)
		if rapid.Bool().Draw(t, "pipe") {
			spec = &kind.Pipe{}
			ends[len(ends)-1] = name + ".r"
			ends = append(ends, name+".w")
		}
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Spec: spec})
	}
	if rapid.Bool().Draw(t, "namespace") {
		tree.Namespaces = []tasktree.NamespaceItem{{Name: tasktree.NamespacePID}}
	}
	var all []*tasktree.Task
	for i := range rapid.IntRange(1, 12).Draw(t, "tasks") {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 0, 6, rapid.ID[int]).Draw(t, "fds") {
			task.FDs = append(task.FDs, tasktree.Descriptor{
				FD: n, File: text(rapid.SampledFrom(ends).Draw(t, "end")), Cloexec: rapid.Bool().Draw(t, "cloexec"),
			})
		}
		if rapid.Bool().Draw(t, "runs") {
			task.Run, task.Env = []tasktree.Text{text("true")}, []tasktree.EnvVar{{Name: "A", Value: "B"}}
		}
		if rapid.Bool().Draw(t, "exact") {
			task.PID.Value = int64(i + 1)
		}
		if i > 0 {
			parent := all[rapid.IntRange(0, i-1).Draw(t, "parent")]
			parent.Children = append(parent.Children, task)
		}
		all = append(all, task)
	}
	tree.Root = all[0]
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatalf("the generator has made an invalid tree: %v", problems)
	}
	for range rapid.IntRange(0, 3).Draw(t, "sharers") {
		sharer, owner := rapid.SampledFrom(all).Draw(t, "sharer"), rapid.SampledFrom(all).Draw(t, "owner")
		fds := sharer.FDs
		sharer.FDs, sharer.SharesFiles = nil, text(owner.Name)
		if len(tree.Check()) > 0 { // not every pair can
			sharer.FDs, sharer.SharesFiles = fds, tasktree.Text{}
			tree.Check()
		}
	}
	return tree
}

// fact is a condition that a tree can meet.
type fact struct {
	name string
	true func(*tasktree.Tree) bool
}

// drawFacts returns facts of a tree, as conflicts could depend on them.
func drawFacts(t *rapid.T, tree *tasktree.Tree) (facts []fact) {
	for range rapid.IntRange(0, 4).Draw(t, "facts") {
		f := fact{}
		switch rapid.IntRange(0, 4).Draw(t, "fact") {
		case 3:
			n := rapid.IntRange(1, 2).Draw(t, "sharers")
			f.name = fmt.Sprintf("%d sharers of a table that is not empty", n)
			f.true = func(tr *tasktree.Tree) bool {
				sharers := map[*tasktree.Task]int{}
				for _, task := range tr.Tasks() {
					if task.Sharer() && len(task.Owner.FDs) > 0 {
						sharers[task.Owner]++
					}
				}
				for _, many := range sharers {
					if many >= n {
						return true
					}
				}
				return false
			}
		case 0:
			n, kind := rapid.IntRange(0, 9).Draw(t, "fd"), rapid.SampledFrom([]string{"reg", "pipe"}).Draw(t, "kind")
			f.name = fmt.Sprintf("fd %d is a %s", n, kind)
			f.true = func(tr *tasktree.Tree) bool {
				return some(tr, func(_ *tasktree.Task, d tasktree.Descriptor) bool { return d.FD == n && d.Open.Spec.Kind() == kind })
			}
		case 1:
			n := rapid.IntRange(0, 9).Draw(t, "fd")
			f.name = fmt.Sprintf("fd %d is shared", n)
			f.true = func(tr *tasktree.Tree) bool {
				return some(tr, func(_ *tasktree.Task, d tasktree.Descriptor) bool { return d.FD == n && d.Open.Shared() })
			}
		case 2:
			n := rapid.IntRange(1, 4).Draw(t, "depth")
			f.name = fmt.Sprintf("fd in depth %d", n)
			f.true = func(tr *tasktree.Tree) bool {
				return some(tr, func(task *tasktree.Task, _ tasktree.Descriptor) bool { return depth(task) >= n })
			}
		default:
			f.name = "close-on-exec of a program"
			f.true = func(tr *tasktree.Tree) bool {
				return some(tr, func(task *tasktree.Task, d tasktree.Descriptor) bool { return d.Cloexec && !task.Holds() })
			}
		}
		if f.true(tree) {
			facts = append(facts, f)
		}
	}
	return facts
}

func some(tr *tasktree.Tree, is func(*tasktree.Task, tasktree.Descriptor) bool) bool {
	return slices.ContainsFunc(tr.Tasks(), func(task *tasktree.Task) bool {
		return slices.ContainsFunc(task.FDs, func(d tasktree.Descriptor) bool { return is(task, d) })
	})
}

func depth(t *tasktree.Task) (n int) {
	for ; t.Parent != nil; t = t.Parent {
		n++
	}
	return n
}

// TestTreeProperty shrinks random trees with random facts as the condition: the facts stay
// true, no single part can be left out any more, no number has changed, and the original
// is unchanged.
func TestTreeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tree := drawTree(t)
		facts := drawFacts(t, tree)
		still := func(tr *tasktree.Tree) bool {
			return !slices.ContainsFunc(facts, func(f fact) bool { return !f.true(tr) })
		}
		before := show(tree)
		got := Tree(tree, still)
		if after := show(tree); after != before {
			t.Fatalf("the original has changed (-before +after):\n%s", cmp.Diff(before, after))
		}
		if problems := got.Check(); len(problems) > 0 || !still(got) {
			t.Fatalf("problems %v, still %v:\n%s", problems, still(got), show(got))
		}
		for _, task := range got.Tasks() {
			original := tree.Tasks()[slices.IndexFunc(tree.Tasks(), func(o *tasktree.Task) bool { return o.Name == task.Name })]
			for _, d := range task.FDs {
				if !slices.ContainsFunc(original.FDs, func(o tasktree.Descriptor) bool { return o.FD == d.FD }) {
					t.Fatalf("fd %d of %s is new:\n%s", d.FD, task.Name, show(got))
				}
			}
		}
		for what, smaller := range simpler(got) {
			if len(smaller.Check()) == 0 && still(smaller) {
				t.Fatalf("%s could be left out:\n%s", what, show(got))
			}
		}
	})
}

// simpler returns all trees with one part less, made without the code of Tree.
func simpler(t *tasktree.Tree) map[string]*tasktree.Tree {
	all := map[string]*tasktree.Tree{}
	variant := func(what string, change func(tr *tasktree.Tree)) {
		c := deepCopy(t)
		change(c)
		all[what] = c
	}
	if len(t.Namespaces) > 0 {
		variant("the namespace", func(tr *tasktree.Tree) { tr.Namespaces = nil })
	}
	for i, task := range t.Tasks() {
		if task.Parent != nil {
			variant("task "+task.Name, func(tr *tasktree.Tree) {
				gone := tr.Tasks()[i]
				up := gone.Parent
				at := slices.Index(up.Children, gone)
				up.Children = slices.Replace(up.Children, at, at+1, gone.Children...)
			})
		}
		for j, d := range task.FDs {
			variant(fmt.Sprintf("fd %d of %s", d.FD, task.Name), func(tr *tasktree.Tree) {
				task := tr.Tasks()[i]
				task.FDs = slices.Delete(task.FDs, j, j+1)
			})
		}
		if task.Sharer() {
			variant("sharing of "+task.Name, func(tr *tasktree.Tree) { tr.Tasks()[i].SharesFiles = tasktree.Text{} })
		}
		if task.PID.Value != 0 {
			variant("pid of "+task.Name, func(tr *tasktree.Tree) { tr.Tasks()[i].PID = tasktree.Number{} })
		}
		if !task.Holds() {
			variant("program of "+task.Name, func(tr *tasktree.Tree) { tr.Tasks()[i].Run, tr.Tasks()[i].Env = nil, nil })
		}
	}
	return all
}

func deepCopy(t *tasktree.Tree) *tasktree.Tree {
	c := &tasktree.Tree{Source: t.Source, Namespaces: t.Namespaces}
	for _, f := range t.Files {
		c.Files = append(c.Files, &tasktree.OpenFile{Name: f.Name, Spec: f.Spec})
	}
	copies := map[*tasktree.Task]*tasktree.Task{}
	for _, task := range t.Tasks() {
		twin := *task
		twin.FDs, twin.Children = slices.Clone(task.FDs), nil
		copies[task] = &twin
		if task.Parent != nil {
			copies[task.Parent].Children = append(copies[task.Parent].Children, &twin)
		}
	}
	c.Root = copies[t.Root]
	c.Check() // lists the tasks
	return c
}

func TestTree(t *testing.T) {
	fd := func(n int, file string) tasktree.Descriptor { return tasktree.Descriptor{FD: n, File: text(file)} }
	uses := func(name string, n int) func(*tasktree.Tree) bool {
		return func(tr *tasktree.Tree) bool {
			return some(tr, func(task *tasktree.Task, d tasktree.Descriptor) bool { return task.Name == name && d.FD == n })
		}
	}
	for _, c := range []struct {
		name  string
		still func(*tasktree.Tree) bool
		want  string
	}{
		{"always", func(*tasktree.Tree) bool { return true }, "task root run [] env [] false cwd \n"},
		{"a leaf becomes the root", uses("b", 3), "file b reg\ntask b 3=b run [] env [] false cwd \n"},
		{
			"two branches without their root",
			func(tr *tasktree.Tree) bool { return uses("b", 3)(tr) && uses("c", 4)(tr) },
			"file a reg\ntask b 3=a run [] env [] false cwd \ntask c of b 4=a run [] env [] false cwd \n",
		},
		{
			"never", func(*tasktree.Tree) bool { return false },
			"file a reg\nfile b reg\ntask root 0=a run [] env [] false cwd \ntask a of root 1=b run [] env [] false cwd \n" +
				"task b of a 3=b run [] env [] false cwd \ntask c of root 4=a run [] env [] false cwd \n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := &tasktree.Tree{
				Files: []*tasktree.OpenFile{
					{Name: "a", Spec: &kind.Reg{Path: text("/dev/null")}}, {Name: "b", Spec: &kind.Reg{Path: text("/dev/zero")}},
				},
				Root: &tasktree.Task{Name: "root", FDs: []tasktree.Descriptor{fd(0, "a")}, Children: []*tasktree.Task{
					{Name: "a", FDs: []tasktree.Descriptor{fd(1, "b")}, Children: []*tasktree.Task{
						{Name: "b", FDs: []tasktree.Descriptor{fd(3, "b")}},
					}},
					{Name: "c", FDs: []tasktree.Descriptor{fd(4, "a")}},
				}},
			}
			if problems := tree.Check(); len(problems) > 0 {
				t.Fatal(problems)
			}
			got := show(Tree(tree, c.still))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestTreeAttributes checks that attributes are left out, and descriptors that are
// close-on-exec by the task's list.
func TestTreeAttributes(t *testing.T) {
	root := &tasktree.Task{
		Name: "root", Cloexec: tasktree.Cloexec{Ranges: []tasktree.Text{text("3"), text("5-9")}},
		Attributes: []tasktree.Attribute{&attr.Nice{Value: tasktree.Number{Value: 5}}, &attr.Umask{Mask: tasktree.Number{Value: 0o27}}},
	}
	for _, n := range []int{0, 3, 7} {
		root.FDs = append(root.FDs, tasktree.Descriptor{FD: n, File: text("a")})
	}
	tree := &tasktree.Tree{Files: []*tasktree.OpenFile{{Name: "a", Spec: &kind.Reg{Path: text("/dev/null")}}}, Root: root}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	small := Tree(tree, func(tr *tasktree.Tree) bool {
		nice := slices.ContainsFunc(tr.Root.Attributes, func(a tasktree.Attribute) bool { return a.Key() == "nice" })
		return nice && some(tr, func(_ *tasktree.Task, d tasktree.Descriptor) bool { return d.FD == 7 && d.Cloexec })
	})
	if diff := cmp.Diff("file a reg\ntask root 7=a* run [] env [] false cwd \n", show(small)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(small.Root.Attributes) != 1 {
		t.Errorf("%d attributes", len(small.Root.Attributes))
	}
	if len(tree.Root.Attributes) != 2 || len(tree.Root.Cloexec.Ranges) != 2 {
		t.Error("the tree has changed")
	}
}

// TestTreeAsksFewQuestions shrinks 300 tasks of 10 descriptors to the two that matter, and
// to one dense table. It bounds the number of questions, which is the cost.
func TestTreeAsksFewQuestions(t *testing.T) {
	tree := &tasktree.Tree{Root: &tasktree.Task{Name: "root"}}
	for i := range 200 {
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: fmt.Sprintf("f%d", i), Spec: &kind.Reg{Path: text("/dev/null")}})
	}
	for i := range 299 {
		task := &tasktree.Task{Name: fmt.Sprintf("t%d", i)}
		for n := range 10 {
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: n, File: text(fmt.Sprintf("f%d", (i*10+n)%200))})
		}
		tree.Root.Children = append(tree.Root.Children, task)
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		name       string
		still      func(*tasktree.Tree) bool
		tasks, fds int
		atMost     int
	}{
		{"two of all", func(tr *tasktree.Tree) bool {
			return some(tr, func(task *tasktree.Task, d tasktree.Descriptor) bool {
				return task.Name == "t123" && d.FD == 4 && d.Open.Shared()
			})
		}, 2, 2, 200},
		{"a dense table", func(tr *tasktree.Tree) bool {
			for _, task := range tr.Tasks() {
				if len(task.FDs) == 10 {
					return true
				}
			}
			return false
		}, 1, 10, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			got := parts(Tree(tree, func(tr *tasktree.Tree) bool { asked++; return c.still(tr) }))
			if len(got.tasks) != c.tasks || got.descriptors() != c.fds || asked > c.atMost {
				t.Errorf("%d tasks, %d descriptors after %d questions; want %d, %d after at most %d", len(got.tasks), got.descriptors(), asked, c.tasks, c.fds, c.atMost)
			}
			t.Logf("%d questions", asked)
		})
	}
}
