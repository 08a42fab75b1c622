package plan_test

import (
	"strings"
	"testing"

	"regrow/restore/internal/plan"
)

func TestParseStrategy(t *testing.T) {
	for _, s := range plan.Strategies() {
		if got, err := plan.ParseStrategy(s.String()); err != nil || got != s {
			t.Errorf("%v: got %v, %v", s, got, err)
		}
	}
	if _, err := plan.ParseStrategy("inherits"); err == nil || !strings.Contains(err.Error(), `did you mean "inherit"`) {
		t.Errorf("got %v", err)
	}
}
