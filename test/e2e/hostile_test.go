package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"regrow/test/rounds"
)

// corpus returns hostile descriptions, and some ordinary ones.
func corpus(t *testing.T) (bad, good [][]byte) {
	t.Helper()
	for _, pattern := range []string{"../../images/testdata/bad/*.yaml", "../../images/testdata/fuzz/*/*", "../../examples/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// A file of the fuzzer contains a Go value.
			if rest, ok := strings.CutPrefix(string(text), "go test fuzz v1\n"); ok {
				rest = strings.TrimSpace(rest)
				from, to := strings.IndexByte(rest, '('), strings.LastIndexByte(rest, ')')
				value, err := strconv.Unquote(rest[from+1 : to])
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				text = []byte(value)
			}
			if strings.Contains(pattern, "examples") {
				good = append(good, text)
			} else {
				bad = append(bad, text)
			}
		}
	}
	return bad, good
}

// mutate changes a description, in some cases with a piece of a second one.
func mutate(rng *rand.Rand, text, other []byte) []byte {
	out := slices.Clone(text)
	lines := strings.SplitAfter(string(other), "\n")
	for range 1 + rng.IntN(3) {
		if len(out) == 0 {
			return slices.Clone(other)
		}
		at := rng.IntN(len(out))
		switch rng.IntN(6) {
		case 0:
			out[at] = byte(rng.IntN(256))
		case 1: // another number in place of a digit
			if i := slices.IndexFunc(out[at:], func(b byte) bool { return b >= '0' && b <= '9' }); i >= 0 {
				numbers := []string{"0", "-1", "255", "1023", "65536", "2147483647", "4294967296", "9223372036854775807"}
				out = slices.Replace(out, at+i, at+i+1, []byte(numbers[rng.IntN(len(numbers))])...)
			}
		case 2: // add a line of the other description
			line := lines[rng.IntN(len(lines))]
			start := strings.LastIndexByte(string(out[:at]), '\n') + 1
			out = slices.Insert(out, start, []byte(line)...)
		case 3: // remove a line
			start := strings.LastIndexByte(string(out[:at]), '\n') + 1
			if end := strings.IndexByte(string(out[at:]), '\n'); end >= 0 {
				out = slices.Delete(out, start, at+end+1)
			}
		case 4: // replace a word
			words := []string{"O_CREAT", "O_PATH", "O_TRUNC", "pipe", "reg", "inherit", "run", "cwd", "pid", "null", "[]", "{}", "&a", "*a", "/dev/full", "/proc/1/mem"}
			end := min(len(out), at+rng.IntN(8))
			out = slices.Replace(out, at, end, []byte(words[rng.IntN(len(words))])...)
		case 5: // repeat a piece
			end := min(len(out), at+rng.IntN(40))
			out = slices.Insert(out, at, slices.Clone(out[at:end])...)
		}
	}
	return out
}

// TestHostileDescriptions really restores hostile descriptions and random changes of
// them. regrow must end in time, with a documented status, and must leave nothing.
// REGROW_TEST_HOSTILE is the number of changed descriptions, REGROW_TEST_SEED repeats a
// run.
func TestHostileDescriptions(t *testing.T) {
	needVM(t) // a description may ask to overwrite anything
	n, seed := rounds.Of(t, "REGROW_TEST_HOSTILE", 100, 100), rounds.Seed(t)
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	bad, good := corpus(t)
	if n < 1000 { // the decoder refuses most of them, which other tests check
		rng.Shuffle(len(bad), func(i, j int) { bad[i], bad[j] = bad[j], bad[i] })
		bad = bad[:min(len(bad), 40)]
	}
	texts := slices.Concat(bad, good)
	whole := len(texts)
	for range n { // mostly of valid ones, which get further
		from := good
		if rng.IntN(4) == 0 {
			from = bad
		}
		texts = append(texts, mutate(rng, from[rng.IntN(len(from))], texts[rng.IntN(whole)]))
	}
	// The files that it makes are in a mount namespace of its own.
	const apart = `exec unshare --mount sh -c 'mount -t tmpfs none /tmp && cd /tmp && exec "$0" "$@"' "$0" "$@"`
	statuses := map[int]int{}
	for i, text := range texts {
		path := filepath.Join("/run", fmt.Sprintf("hostile-%d.yaml", i))
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		res := wait(t, start(t, apart, "restore", "-d", "--timeout", "20s", path))
		statuses[res.status]++
		if !slices.Contains([]int{0, 1, 2, 3}, res.status) || res.status != 0 && res.errors == "" {
			t.Errorf("description %d, seed %d: status %d: %s\n%q", i, seed, res.status, res.errors, text)
		}
		if res.status == 0 {
			endTree(t)
		}
		noDescendants(t)
		_ = os.Remove(path)
	}
	t.Logf("%d descriptions, %d of them changed, seed %d: statuses %v", len(texts), n, seed, statuses)
	if statuses[0] == 0 || statuses[2] == 0 || n >= 1000 && statuses[1] == 0 {
		t.Error("some status never occurred")
	}
}
