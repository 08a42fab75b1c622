package main

import (
	"os"
	"path/filepath"
	"testing"
)

// pidSteps are the steps of two regrows that use the same pid file.
type pidSteps struct {
	t    *testing.T
	path string
}

func (s pidSteps) open() *pidFile {
	s.t.Helper()
	p, err := openPIDFile(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.close)
	return p
}

func (s pidSteps) write(p *pidFile, pid int) {
	s.t.Helper()
	if err := p.write(pid); err != nil {
		s.t.Fatal(err)
	}
}

func (s pidSteps) has(want string) {
	s.t.Helper()
	text, err := os.ReadFile(s.path)
	if want == "" && err == nil {
		s.t.Errorf("there is a file with %q, want none", text)
	}
	if want != "" && string(text) != want {
		s.t.Errorf("it has %q, want %q (%v)", text, want, err)
	}
}

// TestPIDFileOfTwo checks that neither of two regrows with one pid file removes what the
// other one has written or will write, in any order of their steps.
func TestPIDFileOfTwo(t *testing.T) {
	for name, do := range map[string]func(s pidSteps){
		"the first ends first": func(s pidSteps) {
			a := s.open()
			s.write(a, 11)
			b := s.open()
			s.write(b, 22)
			a.remove()
			s.has("22\n")
			b.remove()
			s.has("")
		},
		"the second ends first": func(s pidSteps) {
			a := s.open()
			s.write(a, 11)
			b := s.open()
			s.write(b, 22)
			b.remove()
			s.has("")
			a.remove()
			s.has("")
		},
		"the second has not written yet": func(s pidSteps) {
			a := s.open()
			s.write(a, 11)
			b := s.open()
			a.remove()
			s.has("")
			s.write(b, 22)
			s.has("22\n")
			b.remove()
			s.has("")
		},
		"the second fails": func(s pidSteps) {
			a := s.open()
			s.write(a, 11)
			b := s.open()
			b.giveUp()
			s.has("11\n")
			a.remove()
			s.has("")
		},
		"the first, which has made it, fails": func(s pidSteps) {
			a, b := s.open(), s.open()
			a.giveUp()
			s.write(b, 22)
			s.has("22\n")
			b.remove()
			s.has("")
		},
		"the first fails when the second has written": func(s pidSteps) {
			a, b := s.open(), s.open()
			s.write(b, 22)
			a.giveUp()
			s.has("22\n")
		},
		"another process writes": func(s pidSteps) {
			a := s.open()
			s.write(a, 11)
			if err := os.WriteFile(s.path, []byte("111\n"), 0o644); err != nil {
				s.t.Fatal(err)
			}
			a.remove()
			s.has("111\n")
		},
		"another process replaces it": func(s pidSteps) {
			a := s.open()
			s.write(a, 11)
			other := s.path + ".new"
			if err := os.WriteFile(other, []byte("11\n"), 0o644); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Rename(other, s.path); err != nil {
				s.t.Fatal(err)
			}
			a.remove()
			s.has("11\n")
		},
		"it existed before and was never written": func(s pidSteps) {
			if err := os.WriteFile(s.path, nil, 0o644); err != nil {
				s.t.Fatal(err)
			}
			a := s.open()
			a.remove()
			if _, err := os.Stat(s.path); err != nil {
				s.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { do(pidSteps{t, filepath.Join(t.TempDir(), "pid")}) })
	}
}
