package rounds

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// Level is the number of rounds and cases of a run.
type Level int

// The levels, in the order of the words of REGROW_TEST_ROUNDS.
const (
	Few Level = iota
	All
	Soak
)

// soakFactor is the number of rounds of a soak relative to All.
const soakFactor = 10

const (
	levelEnv = "REGROW_TEST_ROUNDS"
	seedEnv  = "REGROW_TEST_SEED"
)

// usualSeed is the default seed: a run by hand is the same each time. .ci/run sets another
// seed for each commit.
const usualSeed = 20261124

// Now returns the level of this run. It fails the test if the variable has another word.
func Now(t testing.TB) Level {
	t.Helper()
	switch word := os.Getenv(levelEnv); word {
	case "", "few":
		return Few
	case "all":
		return All
	case "soak":
		return Soak
	default:
		t.Fatalf("%s=%s: write few, all or soak", levelEnv, word)
		return Few
	}
}

// Of returns the number of rounds of this run. An environment variable of the test, such as
// REGROW_TEST_KILLS, can set another number; variable is "" if there is none.
func Of(t testing.TB, variable string, few, all int) int {
	t.Helper()
	if variable != "" && os.Getenv(variable) != "" {
		return Number(t, variable, 0)
	}
	switch Now(t) {
	case Few:
		return few
	case Soak:
		return soakFactor * all
	default:
		return all
	}
}

// Check is [rapid.Check] with few cases at level [Few], as many as -rapid.checks says at
// All, and ten times as many in a soak. The flag, if given, decides at every level, and so
// does a variable of the test, which is "" if there is none.
func Check(t *testing.T, variable string, few int, property func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	was := checks.Value.String()
	usual, err := strconv.Atoi(was)
	if err != nil {
		t.Fatal(err)
	}
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f == checks })
	n := usual
	switch {
	case variable != "" && os.Getenv(variable) != "":
		n = Number(t, variable, 0)
	case !said:
		n = Of(t, "", few, usual)
	}
	if err := checks.Value.Set(strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = checks.Value.Set(was) }() // it is a valid value
	rapid.Check(t, property)
}

// Seed returns the seed of this run.
func Seed(t testing.TB) int {
	t.Helper()
	return Number(t, seedEnv, usualSeed)
}

// Number returns the number in an environment variable, or otherwise if it is not set.
func Number(t testing.TB, variable string, otherwise int) int {
	t.Helper()
	n, err := parse(variable, otherwise)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parse(variable string, otherwise int) (int, error) {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%s: write a number", variable, text)
	}
	return n, nil
}

// Only skips a test below a level.
func Only(t testing.TB, least Level) {
	t.Helper()
	if Now(t) < least {
		t.Skipf("left to make test-root (%s=all)", levelEnv)
	}
}

// Cases are the cases of a test that this run has.
type Cases struct {
	drawn map[int]bool
	n     int
	seed  int
}

// Draw chooses among the n cases of a test: the first always cases, and more of the others,
// drawn by the seed; all n at levels above [Few].
func Draw(t testing.TB, n, always, more int) Cases {
	t.Helper()
	c := Cases{drawn: map[int]bool{}, n: n, seed: Seed(t)}
	if Now(t) > Few {
		always = n
	}
	always = min(always, n)
	for i := range always {
		c.drawn[i] = true
	}
	order := rand.New(rand.NewPCG(uint64(c.seed), 0)).Perm(n - always)
	for _, i := range order[:min(more, len(order))] {
		c.drawn[always+i] = true
	}
	return c
}

// Has reports whether case i, from 0, is drawn.
func (c Cases) Has(i int) bool { return c.drawn[i] }

// Need skips the test of a case that is not drawn.
func (c Cases) Need(t testing.TB, i int) {
	t.Helper()
	if !c.Has(i) {
		t.Skipf("not drawn: %d of %d cases are, by the seed %d; make test-root has all (%s=all)", len(c.drawn), c.n, c.seed, levelEnv)
	}
}
