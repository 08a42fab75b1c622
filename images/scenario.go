package images

import (
	"math"
	"strings"

	"gopkg.in/yaml.v3"

	"regrow/tasktree"
)

// scenario gives the tree's scenario, making it when it is first needed.
func (d *decoder) scenario() *tasktree.Scenario {
	if d.tree.Scenario == nil {
		d.tree.Scenario = &tasktree.Scenario{}
	}
	return d.tree.Scenario
}

// caller decodes what the process that restores is to be like.
func (d *decoder) caller(v node) {
	keys := []string{"nofile", "open", "inherit_fd", "service_fd", "restores"}
	got := v.known("a mapping with "+strings.Join(keys, ", "), keys, nil)
	if len(got) == 0 {
		return
	}
	c := &d.scenario().Caller
	number := func(key, want string) (n tasktree.Number) {
		if v, ok := got.get(key); ok {
			n, _ = v.integer(want, 1, math.MaxInt32)
		}
		return n
	}
	c.NoFile = number("nofile", "a limit of descriptors")
	c.Open = number("open", "a number of open descriptors")
	c.Restores = number("restores", "a number of restores")
	if v, ok := got.get("service_fd"); ok {
		if n, ok := v.integer("a descriptor", 0, tasktree.MaxFD); ok {
			c.ServiceFD = &n
		}
	}
	if v, ok := got.get("inherit_fd"); ok {
		for _, f := range v.fields("a mapping from keys to descriptors of the caller, such as {log: 5}") {
			if n, ok := f.value.integer("a descriptor", 0, tasktree.MaxFD); ok {
				c.InheritFD = append(c.InheritFD, tasktree.CallerFD{Key: tasktree.Text{Value: f.name, Pos: f.key.pos()}, FD: n})
			}
		}
	}
}

// expect decodes how each strategy is expected to end.
func (d *decoder) expect(v node) {
	entries := v.fields("a mapping from strategies to " + strings.Join(tasktree.Outcomes, ", "))
	if entries != nil && len(entries) == 0 {
		v.bad("the mapping is empty; say what you expect of each strategy, or leave expect out")
	}
	for _, f := range entries {
		outcome, ok := f.value.text("one of " + strings.Join(tasktree.Outcomes, ", "))
		if !ok {
			continue
		}
		e := tasktree.Expectation{Outcome: outcome, Pos: f.key.pos()}
		e.Strategy, e.Naive, _ = tasktree.ParseStrategy(f.name)
		s := d.scenario()
		s.Expect = append(s.Expect, e)
	}
}

// scenario encodes what a description says beside its tree.
func (e *encoder) scenario(s *tasktree.Scenario, top *yaml.Node) {
	caller := mapping(yaml.FlowStyle)
	putNumber := func(key string, n tasktree.Number) {
		if n.Value != 0 {
			put(caller, key, number(n.Value))
		}
	}
	putNumber("nofile", s.Caller.NoFile)
	putNumber("open", s.Caller.Open)
	if len(s.Caller.InheritFD) > 0 {
		fds := mapping(yaml.FlowStyle)
		for _, fd := range s.Caller.InheritFD {
			put(fds, fd.Key.Value, number(fd.FD.Value))
		}
		put(caller, "inherit_fd", fds)
	}
	if fd := s.Caller.ServiceFD; fd != nil {
		put(caller, "service_fd", number(fd.Value))
	}
	putNumber("restores", s.Caller.Restores)
	if len(caller.Content) > 0 {
		put(top, "caller", caller)
	}
	if len(s.Expect) > 0 {
		expect := mapping(0)
		for _, x := range s.Expect {
			put(expect, x.Name(), scalar(x.Outcome.Value))
		}
		put(top, "expect", expect)
	}
}
