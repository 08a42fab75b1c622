package program

import "testing"

// TestTable holds that every op and verb has its row.
func TestTable(t *testing.T) {
	kinds := Kinds()
	if want := int(OpChild-OpCall) + 1 + int(OpMapped-OpReopen) + 1; len(kinds) != want {
		t.Errorf("%d rows of ops, want %d", len(kinds), want)
	}
	for _, k := range kinds {
		if row := k.Row(); (row.Name == "") != (k == OpCall || k == OpPair || k == OpPoll) {
			t.Errorf("op %d is called %q", k, row.Name)
		}
	}
	for v := VerbSetUp; v <= VerbBench; v++ {
		if row := v.Row(); row.Words == "" || row.Category == "" {
			t.Errorf("verb %d: %+v", v, row)
		}
	}
	if got := CallRowOf(1 << 20).Name; got != "syscall 1048576" {
		t.Errorf("a call that nobody knows is called %q", got)
	}
	op := Op{Args: [6]uint64{3: 7}}
	if task, ok := (Note{Verb: VerbFind}).For(&op); task != 7 || !ok {
		t.Errorf("a program is looked up for task %d, %v", task, ok)
	}
	if _, ok := (Note{Verb: VerbReady}).For(&op); ok {
		t.Error("a task is ready for another one")
	}
}
