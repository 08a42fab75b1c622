package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"regrow/test/record"
)

// said returns the events of a test that prints something and ends.
func said(pkg, test, text, action string) string {
	return fmt.Sprintf(`{"Action":"run","Package":%[1]q,"Test":%[2]q}
{"Action":"output","Package":%[1]q,"Test":%[2]q,"Output":"=== RUN   %[2]s\n"}
{"Action":"output","Package":%[1]q,"Test":%[2]q,"Output":%[3]q}
{"Action":%[4]q,"Package":%[1]q,"Test":%[2]q,"Elapsed":0.1}
`, pkg, test, text, action)
}

// TestSum checks what is counted, what is printed, and what counts as passed.
func TestSum(t *testing.T) {
	events := said("p", "TestA", "quiet\n", "pass") +
		said("p", "TestB/sub", "    a_test.go:7: needs a moon\n", "skip") +
		said("p", "TestB", "", "pass") +
		said("p", "TestC", "    a_test.go:9: wants: a moon\n    --- SKIP: TestC (0.00s)\n", "skip") +
		said("q", "TestD", "    b_test.go:1: it is wrong\n", "fail") +
		`{"Action":"output","Package":"p","Output":"PASS\n"}` + `{"Action":"output","Package":"p","Output":"ok p\n"}` +
		`{"Action":"build-output","ImportPath":"r","Output":"r.go:1: no\n"}` +
		`{"Action":"run","Package":"q","Test":"TestE"}` + `{"Action":"output","Package":"q","Test":"TestE","Output":"=== RUN   TestE\n"}`
	var out strings.Builder
	s := newSum(&out)
	if err := s.takeAll(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	s.print()
	const want = `=== RUN   TestD
    b_test.go:1: it is wrong
ok p
r.go:1: no
q: TestE began and did not end
=== RUN   TestE
2 passed, 2 failed, 2 skipped
     1 skipped: needs a moon
     1 skipped: wants: a moon
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if got := fmt.Sprint(s.record); got != "[{p TestA} {p TestB}]" {
		t.Errorf("recorded %s", got)
	}
	if err := s.takeAll(strings.NewReader("no JSON")); err == nil {
		t.Error("a line that is not an event was accepted")
	}
}

// TestListed reads what go test -json -list prints.
func TestListed(t *testing.T) {
	const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Output":"TestA\n"}
{"Action":"output","Package":"p","Output":"Example_open\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}
{"Action":"output","Package":"r","Output":"FuzzX\n"}
`
	got, err := listed(strings.NewReader(events))
	if err != nil || fmt.Sprint(got) != "[{p TestA} {p Example_open} {r FuzzX}]" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestMissing checks that tests that have never passed are reported: only one test of this
// package is on the list.
func TestMissing(t *testing.T) {
	t.Setenv(record.Env, filepath.Join(t.TempDir(), "list"))
	list := os.Getenv(record.Env)
	if err := record.Passed(record.Test{Package: "regrow/test/tally", Name: "TestSum"}); err != nil {
		t.Fatal(err)
	}
	if err := record.Passed(record.Test{Package: "regrow/test/tally", Name: "TestListed"}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	ok, err := run(t.Context(), []string{"-missing", list, "."}, &out)
	if err != nil || ok || out.String() != "regrow/test/tally: TestMissing has not passed anywhere\n3 tests: 2 have passed somewhere, 1 nowhere\n" {
		t.Errorf("%v, %v: %s", ok, err, out.String())
	}
	if err := record.Passed(record.Test{Package: "regrow/test/tally", Name: "TestMissing"}); err != nil {
		t.Fatal(err)
	}
	if ok, err := run(t.Context(), []string{"-missing", list, "."}, &out); err != nil || !ok {
		t.Errorf("with all on the list: %v, %v", ok, err)
	}
	if _, err := run(t.Context(), []string{"-missing", list}, &out); err == nil {
		t.Error("a call without packages was accepted")
	}
}
