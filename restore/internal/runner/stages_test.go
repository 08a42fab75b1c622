package runner

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
)

// TestStages restores tasks that wait for one another, and one that ends by plan: /proc
// has it as a zombie with its status, and the restore goes well. That the waits hold is a
// part of the plan: a task demands what the other one does late.
func TestStages(t *testing.T) {
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	for _, strategy := range plan.Strategies() {
		t.Run(strategy.String(), func(t *testing.T) {
			tree := plantest.Reference(t, t.TempDir())
			ends := tree.TaskNamed("ends").Index
			p, err := planner.New(tree, here, plan.Options{Detach: true, Strategy: strategy})
			if err != nil {
				t.Fatal(err)
			}
			restored, err := startNow(t.Context(), p, Options{Timeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer restored.Abort()
			pid := restored.Report().Tasks[ends].PID
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(text), ") ")
			fields := strings.Fields(rest) // the state, field 3, comes first
			const exitCode = 52 - 3
			if status, _ := strconv.Atoi(fields[exitCode]); fields[0] != "Z" || status != plantest.EndStatus<<8 {
				t.Errorf("state %s with status %s, want Z with %d", fields[0], fields[exitCode], plantest.EndStatus<<8)
			}
			if n := len(proc.Descendants(restored.root)); n != len(p.Tasks)-1 {
				t.Errorf("%d tasks below the root, want %d", n, len(p.Tasks)-1)
			}
		})
	}
}
