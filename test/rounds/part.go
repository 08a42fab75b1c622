package rounds

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const partEnv = "REGROW_TEST_PART"

// Part makes a test binary run only a part of its tests. It is for several runs that differ
// in something that few tests depend on: the build of regrow, or the kernel. Call it in
// TestMain, before m.Run.
//
// REGROW_TEST_PART=K/N is part K of N, from 1: the tests of always, and the K-th of N equal
// parts of the others, which the seed shuffles first. So N runs have each test at least once.
// Without the variable, and with the flag -run, nothing is left out and said is "".
func Part(always []string) (said string, err error) {
	text := os.Getenv(partEnv)
	flag.Parse()
	if text == "" || flag.Lookup("test.run").Value.String() != "" {
		return "", nil
	}
	var k, n int
	if _, err := fmt.Sscanf(text, "%d/%d", &k, &n); err != nil || k < 1 || k > n {
		return "", fmt.Errorf("%s=%s: write K/N, such as 1/4", partEnv, text)
	}
	seed, err := parse(seedEnv, usualSeed)
	if err != nil {
		return "", err
	}
	all, err := tests()
	if err != nil {
		return "", err
	}
	chosen, err := choose(all, always, k, n, seed)
	if err != nil {
		return "", err
	}
	// The list of tests, which test/vm reads, has only the chosen ones.
	name := "test.run"
	if flag.Lookup("test.list").Value.String() != "" {
		name = "test.list"
	}
	said = fmt.Sprintf("part %s by the seed %d: %d of %d tests, %d of them in every part", text, seed, len(chosen), len(all), len(always))
	return said, flag.Set(name, "^("+strings.Join(chosen, "|")+")$")
}

// choose returns the tests of part k of n, in the order of all.
func choose(all, always []string, k, n, seed int) (chosen []string, err error) {
	var rest []string
	for _, name := range all {
		if !slices.Contains(always, name) {
			rest = append(rest, name)
		}
	}
	for _, name := range always {
		if !slices.Contains(all, name) {
			err = errors.Join(err, fmt.Errorf("there is no test %s, which must be in every part", name))
		}
	}
	rand.New(rand.NewPCG(uint64(seed), 1)).Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	in := map[string]bool{}
	for i, name := range rest {
		in[name] = i%n == k-1
	}
	for _, name := range all {
		if in[name] || slices.Contains(always, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen, err
}

// tests lists the tests of this binary.
func tests() (names []string, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-test.list=^(Test|Example|Fuzz)")
	cmd.Env = append(os.Environ(), partEnv+"=")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list of tests: %w", err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		names = append(names, name)
	}
	return names, nil
}
