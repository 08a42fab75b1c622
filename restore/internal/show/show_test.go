package show_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/show"
)

func TestPictureIsJSON(t *testing.T) {
	p := plantest.Must(t)(planner.New(plantest.Small(t), plantest.Host, plan.Options{}))
	var out bytes.Buffer
	if err := show.WriteJSON(p, &out); err != nil {
		t.Fatal(err)
	}
	var pic show.Picture
	if err := json.Unmarshal(out.Bytes(), &pic); err != nil {
		t.Fatal(err)
	}
	if len(pic.Tasks) != 2 || pic.Tasks[1].Parent != "init" {
		t.Errorf("tasks: %+v", pic.Tasks)
	}
	out.Reset()
	if err := show.WriteText(p, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`task "init"`, `clone3 -> task "child"`, "at release: 7:p.w 9:null", `openat2("/dev/null"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the picture has no %q:\n%s", want, out.String())
		}
	}
}
