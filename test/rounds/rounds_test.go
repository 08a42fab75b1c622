package rounds_test

import (
	"flag"
	"fmt"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"regrow/test/rounds"
)

// taken lists which of n cases a run has.
func taken(t *testing.T, n, always, more int) (cases []int) {
	t.Helper()
	c := rounds.Draw(t, n, always, more)
	for i := range n {
		if c.Has(i) {
			cases = append(cases, i)
		}
	}
	return cases
}

// TestDraw checks that a run has the required cases and the requested number of others, that
// the seed determines them, and that no case is left out by every seed.
func TestDraw(t *testing.T) {
	const n, always, more = 20, 3, 4
	t.Setenv("REGROW_TEST_ROUNDS", "few")
	seen := map[int]bool{}
	for seed := range 60 {
		t.Setenv("REGROW_TEST_SEED", strconv.Itoa(seed))
		got := taken(t, n, always, more)
		if again := taken(t, n, always, more); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("seed %d: %v, then %v", seed, got, again)
		}
		if len(got) != always+more || got[0] != 0 || got[1] != 1 || got[2] != 2 {
			t.Errorf("seed %d: %v", seed, got)
		}
		for _, i := range got {
			seen[i] = true
		}
	}
	if len(seen) != n {
		t.Errorf("60 seeds have drawn only %v", seen)
	}
	for _, level := range []string{"all", "soak"} {
		t.Setenv("REGROW_TEST_ROUNDS", level)
		if got := taken(t, n, always, more); len(got) != n {
			t.Errorf("%s: %v", level, got)
		}
	}
	t.Setenv("REGROW_TEST_ROUNDS", "few")
	if got := taken(t, 2, 5, 5); len(got) != 2 {
		t.Errorf("more than there are: %v", got)
	}
}

func TestOf(t *testing.T) {
	const variable = "REGROW_TEST_OF"
	for level, want := range map[string]int{"": 4, "few": 4, "all": 30, "soak": 300} {
		t.Setenv("REGROW_TEST_ROUNDS", level)
		if got := rounds.Of(t, variable, 4, 30); got != want {
			t.Errorf("%q: %d rounds, want %d", level, got, want)
		}
	}
	t.Setenv(variable, "7")
	if got := rounds.Of(t, variable, 4, 30); got != 7 {
		t.Errorf("%d rounds, want 7", got)
	}
}

func TestOnly(t *testing.T) {
	for level, want := range map[string]bool{"few": false, "all": true, "soak": true} {
		t.Setenv("REGROW_TEST_ROUNDS", level)
		ran := false
		t.Run(level, func(t *testing.T) {
			rounds.Only(t, rounds.All)
			ran = true
		})
		if ran != want {
			t.Errorf("%s: ran %v", level, ran)
		}
	}
}

// TestCheck checks how many cases rapid has at each level, and that the flag is restored
// afterwards.
func TestCheck(t *testing.T) {
	wants := map[string]int{"few": 3, "all": 100, "soak": 1000}
	flag.Visit(func(f *flag.Flag) { // the flag was given for this run
		if said, err := strconv.Atoi(f.Value.String()); f.Name == "rapid.checks" && err == nil {
			wants = map[string]int{"few": said, "all": said, "soak": said}
		}
	})
	for level, want := range wants {
		t.Setenv("REGROW_TEST_ROUNDS", level)
		n := 0
		rounds.Check(t, "", 3, func(*rapid.T) { n++ })
		if n != want {
			t.Errorf("%s: %d cases, want %d", level, n, want)
		}
	}
	t.Setenv("REGROW_TEST_OF", "7")
	n := 0
	rounds.Check(t, "REGROW_TEST_OF", 3, func(*rapid.T) { n++ })
	if n != 7 {
		t.Errorf("%d cases, want 7", n)
	}
}
