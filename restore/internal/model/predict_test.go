package model_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// clash is one task in which the naive store is placed at a described number, and inherited
// files at the numbers of others.
func clash(t testing.TB) *tasktree.Tree {
	at := func(line int) tasktree.Pos { return tasktree.Pos{Line: line, Col: 5} }
	tree := &tasktree.Tree{Source: "clash.yaml", Files: []*tasktree.OpenFile{
		{Name: "a", Pos: at(1), Spec: &kind.Inherit{Key: plantest.Text("stdin")}},
		{Name: "b", Pos: at(2), Spec: &kind.Inherit{Key: plantest.Text("stdout")}},
	}, Root: &tasktree.Task{Name: "only", Pos: at(3), FDs: []tasktree.Descriptor{
		{FD: 1, File: plantest.Text("a"), Pos: at(4)}, {FD: 0, File: plantest.Text("b"), Pos: at(5)},
	}}}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return tree
}

func predict(t testing.TB, tree *tasktree.Tree, o plan.Options) *model.Prediction {
	t.Helper()
	p, err := planner.New(tree, plantest.Host, o)
	if err != nil {
		t.Fatal(err)
	}
	pr, err := model.Predict(p)
	if err != nil {
		t.Fatal(err)
	}
	return pr
}

func TestPredict(t *testing.T) {
	five := 5
	for _, c := range []struct {
		name string
		o    plan.Options
		want []string
	}{
		{"fdstore", plan.Options{}, nil},
		{"service", plan.Options{Strategy: plan.StrategyService}, nil},
		{"service, naive", plan.Options{Strategy: plan.StrategyService, Naive: true}, []string{
			`clash.yaml:3:5: task "only": close helpers: close(1): fd 1 was a; this loses fd 1, installed from file "a" at line 4`,
			`clash.yaml:4:5: task "only": install fd 1 from file "a": dup3(2, 1): fd 1 was [channel]; this loses the channel, before file "b" was popped for fd 0`,
		}},
		{"inherit", plan.Options{Strategy: plan.StrategyInherit}, nil},
		{"fdstore, naive", plan.Options{Naive: true}, []string{
			`clash.yaml:3:5: task "only": close helpers: close(0): fd 0 was b; this loses fd 0, installed from file "b" at line 5`,
		}},
		{"fdstore, naive, out of the way", plan.Options{Naive: true, ServiceFD: &five}, nil},
		{"inherit, naive", plan.Options{Strategy: plan.StrategyInherit, Naive: true}, []string{
			`clash.yaml:4:5: task "only": install fd 1 from file "a": dup3(0, 1): fd 1 was b; this loses file "b", still to be installed as fd 0`,
			`clash.yaml:5:5: task "only": install fd 0 from file "b": close(1): fd 1 was a; this loses fd 1, installed from file "a" at line 4`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pr := predict(t, clash(t), c.o)
			var got []string
			for _, collision := range pr.Collisions {
				got = append(got, collision.String())
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) || pr.Held() != (c.want == nil) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPredictionJSON(t *testing.T) {
	text, err := json.Marshal(predict(t, clash(t), plan.Options{Naive: true}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"strategy":"fdstore","naive":true`, `"collisions":[{"line":3,"col":5,"task":"only"`, `"table":{"1":{"file":"a","cloexec":false}}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	var back model.Prediction
	if err := json.Unmarshal(text, &back); err != nil || !back.Naive || len(back.Collisions) != 1 {
		t.Errorf("read back: %v, %+v", err, back)
	}
}

// BenchmarkPredict plans and predicts a tree of 1,000 tasks with every strategy, careful and
// naive.
func BenchmarkPredict(b *testing.B) {
	tree := plantest.Wide(b)
	for b.Loop() {
		for _, s := range plan.Strategies() {
			for _, naive := range []bool{false, true} {
				predict(b, tree, plan.Options{Strategy: s, Naive: naive})
			}
		}
	}
}

// TestPredictedLimit checks that files that are made one after the other are not counted
// twice: each is first opened with O_PATH, by a descriptor that is closed again.
func TestPredictedLimit(t *testing.T) {
	const files = 100
	tree := &tasktree.Tree{Source: "many.yaml", Root: &tasktree.Task{Name: "a", Children: []*tasktree.Task{{Name: "b"}}}}
	for i := range files {
		name := fmt.Sprintf("f%d", i)
		tree.Files = append(tree.Files, &tasktree.OpenFile{Name: name, Spec: &kind.Reg{Path: plantest.Text("/dev/null")}})
		for _, task := range []*tasktree.Task{tree.Root, tree.Root.Children[0]} {
			task.FDs = append(task.FDs, tasktree.Descriptor{FD: i, File: plantest.Text(name)})
		}
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	pr := predict(t, tree, plan.Options{})
	if want := uint64(files + 1 + model.OwnDescriptors); pr.NoFile != want {
		t.Errorf("RLIMIT_NOFILE %d, want %d", pr.NoFile, want)
	}
}
