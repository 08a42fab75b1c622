package tasktree_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// naming is a kind that names a task and another open file.
type naming struct {
	fake

	task, file tasktree.Text
}

func (n *naming) Fields(f schema.Fields) {
	f.Ref("task", &n.task, schema.ToTask, schema.Help{})
	f.Ref("file", &n.file, schema.ToFile, schema.Help{})
}

// TestReferences checks the messages about names among the keys of a kind, and which open
// files are needed: also those to which only another open file refers.
func TestReferences(t *testing.T) {
	kind := func(task, name string) *naming {
		n := &naming{fake: plain}
		if task != "" {
			n.task = text(20, 5, task)
		}
		if name != "" {
			n.file = text(20, 9, name)
		}
		return n
	}
	for _, c := range []struct {
		name string
		spec *naming
		want []string
	}{
		{"nothing", kind("", ""), nil},
		{"both are there", kind("main", "jobs.r"), nil},
		{"no such task", kind("mian", ""), []string{`20:5: files.box.task: unknown task "mian" (did you mean "main", defined at 1:1?)`}},
		{"no such file", kind("", "lgo"), []string{`20:9: files.box.file: unknown open file "lgo" (did you mean "log", defined at 4:1?)`}},
		{"no such end", kind("", "jobs.x"), []string{`20:9: files.box.file: "jobs.x" does not name an end of the pipe "jobs"; write jobs.r or jobs.w`}},
		{"no ends at all", kind("", "log.r"), []string{`20:9: files.box.file: open file "log" is a reg and has no ends (write "log")`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := tree(task(1, "main", fd(1, 0, "box"), fd(1, 1, "log"), fd(1, 2, "jobs.w")), file(3, "box", c.spec), file(4, "log", plain), file(5, "jobs", twoEnd))
			var got []string
			for _, p := range tr.Check() {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	// box needs middle, which needs far; nothing needs idle, which also refers to far.
	tr := tree(task(1, "main", fd(1, 0, "box")),
		file(3, "box", kind("", "middle")), file(4, "middle", kind("", "far")), file(5, "far", plain), file(6, "idle", kind("", "far")))
	if problems := tr.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	var needed, named []string
	for _, f := range tr.Files {
		if f.Needed {
			needed = append(needed, f.Name)
		}
		if f.Named {
			named = append(named, f.Name)
		}
	}
	if diff := cmp.Diff([]string{"box", "middle", "far"}, needed); diff != "" {
		t.Errorf("needed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"middle", "far"}, named); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
	var warned []string
	for _, p := range tr.Warnings() {
		warned = append(warned, p.String())
	}
	if diff := cmp.Diff([]string{`6:1: files.idle: open file "idle" is used by no task and will not be made`}, warned); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
