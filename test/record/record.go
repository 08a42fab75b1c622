package record

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Env is the environment variable with the path of the list. Without it nothing is
// recorded.
const Env = "REGROW_TEST_RECORD"

// Test is a top-level test, example or fuzz target.
type Test struct {
	Package string // import path
	Name    string
}

// Passed adds tests to the list. Several processes may call it at the same time.
func Passed(tests ...Test) (err error) {
	path := os.Getenv(Env)
	if path == "" || len(tests) == 0 {
		return nil
	}
	var b strings.Builder
	for _, t := range tests {
		fmt.Fprintf(&b, "%s %s\n", t.Package, t.Name)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}

// Read returns the tests of a list.
func Read(path string) (map[Test]bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	passed := map[Test]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		pkg, name, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return nil, fmt.Errorf("%s: line %q: expected a package and a test", path, lines.Text())
		}
		passed[Test{Package: pkg, Name: name}] = true
	}
	return passed, lines.Err()
}
