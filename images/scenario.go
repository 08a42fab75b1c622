package images

import (
	"math"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// fieldsOfScenario binds the keys of a scenario.
func fieldsOfScenario(s *tasktree.Scenario, f schema.Fields) {
	var at schema.Pos
	c := (*caller)(&s.Caller)
	f.Group("caller", &at, c.Fields, schema.Help{
		Want: "a mapping with " + strings.Join(schema.Keys(c), ", "), Doc: "see [Scenarios](#scenarios)",
	})
	f.Map("expect", (*expectations)(&s.Expect), schema.Help{
		Want: "a mapping from strategies to " + strings.Join(tasktree.Outcomes, ", "), Lines: true, Doc: "see [Scenarios](#scenarios)",
		Empty: "write the expected outcome of each strategy, or leave expect out",
	})
}

// caller describes the process that restores.
type caller tasktree.Caller

// Fields implements [schema.Fielder].
func (c *caller) Fields(f schema.Fields) {
	f.Int("nofile", &c.NoFile, schema.Int{Of: "a limit of descriptors", Lo: 1, Hi: math.MaxInt32, Help: schema.Help{
		Doc: "RLIMIT_NOFILE, soft and hard; regrow itself needs about 20 free numbers below it, and fails with status 3 if it cannot begin", Default: "the caller's",
	}})
	f.Int("open", &c.Open, schema.Int{Of: "a number of open descriptors", Lo: 1, Hi: math.MaxInt32, Help: schema.Help{
		Doc: "N: descriptors 3 to N-1 are open, each on an open file of its own; 4 to 4096, and less than `nofile`", Default: "none",
	}})
	f.Map("inherit_fd", (*callerFDs)(&c.InheritFD), schema.Help{
		Want: "a mapping from keys to descriptors of the caller, such as {log: 5}",
		Doc:  "mapping from keys (or names of open files) to descriptors: each is open, and the tree inherits it as with `--inherit-fd KEY=N`", Default: "none",
	})
	f.Int("service_fd", &c.ServiceFD, schema.Int{Of: "a descriptor", Hi: tasktree.MaxFD, Help: schema.Help{
		Doc: "as with `--service-fd`", Default: "none",
	}})
	f.Int("restores", &c.Restores, schema.Int{Of: "a number of restores", Lo: 1, Hi: math.MaxInt32, Help: schema.Help{
		Doc: "how many copies of the tree live at once, 1 to 8", Default: "1",
	}})
}

// callerFDs is the mapping from keys to descriptors of the caller.
type callerFDs []tasktree.CallerFD

func (c *callerFDs) Len() int         { return len(*c) }
func (c *callerFDs) Key(i int) string { return (*c)[i].Key.Value }
func (*callerFDs) Keys() string       { return "" }
func (c *callerFDs) Drop()            { *c = (*c)[:len(*c)-1] }

func (c *callerFDs) Add(key schema.Text, _ func(string, ...any)) bool {
	*c = append(*c, tasktree.CallerFD{Key: key})
	return true
}

func (c *callerFDs) Item(i int, f schema.Fields) {
	n := (*c)[i].FD
	n.Set = true
	f.Int("", &n, schema.Int{Of: "a descriptor", Hi: tasktree.MaxFD})
	if n.Pos.IsValid() {
		(*c)[i].FD = n
	}
}

// expectations is the mapping from strategies to expected outcomes.
type expectations []tasktree.Expectation

func (e *expectations) Len() int         { return len(*e) }
func (e *expectations) Key(i int) string { return (*e)[i].Name() }
func (*expectations) Keys() string       { return "" }
func (e *expectations) Drop()            { *e = (*e)[:len(*e)-1] }

func (e *expectations) Add(name schema.Text, _ func(string, ...any)) bool {
	x := tasktree.Expectation{Pos: name.Pos}
	x.Strategy, x.Naive, _ = tasktree.ParseStrategy(name.Value)
	*e = append(*e, x)
	return true
}

func (e *expectations) Item(i int, f schema.Fields) {
	f.Text("", &(*e)[i].Outcome, schema.Help{Want: "one of " + strings.Join(tasktree.Outcomes, ", ")})
}
