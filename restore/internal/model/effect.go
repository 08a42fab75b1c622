package model

import (
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// call applies a system call by its declared effect, not by its number. A call without a
// declared effect is an error of the plan, and so is one with an effect that its number
// contradicts.
func (s step) call() error {
	if fixed, known := program.EffectOf(s.op); known && fixed != s.note.Effect {
		return fmt.Errorf("the call is declared to have the effect %d, but it has %d", s.note.Effect, fixed)
	}
	if err := s.uses(); err != nil {
		return err
	}
	switch a := s.op.Args; s.note.Effect {
	case program.EffectUndeclared:
		return fmt.Errorf("the effect of the call is not declared")
	case program.EffectNothing:
		if s.op.Nr == unix.SYS_SENDMSG && s.note.File == program.NoFile || s.note.Verb == program.VerbPull || s.note.Verb == program.VerbChannel {
			return s.service()
		}
	case program.EffectGivesFD:
		return s.makes()
	case program.EffectCopies:
		c, _ := s.t.Cells.Get(int(a[0]))
		c.Cloexec = a[1] == unix.F_DUPFD_CLOEXEC
		s.own[s.task]++
		return s.lands(int(s.op.Want), c)
	case program.EffectReplaces:
		return s.dup()
	case program.EffectCloses:
		return s.close(int(a[0]))
	case program.EffectClosesRange:
		if a[0] > a[1] {
			return opFails{unix.EINVAL}
		}
		for _, n := range s.t.Cells.Numbers() {
			if uint64(n) >= a[0] && uint64(n) <= a[1] {
				s.t.drop(n)
			}
		}
	case program.EffectCloexec:
		c, _ := s.t.Cells.Get(int(a[0]))
		c.Cloexec = a[2]&unix.FD_CLOEXEC != 0
		s.t.put(int(a[0]), c)
	case program.EffectOwnTable:
		s.Tables[s.task] = s.t.copyFor(s.wantOf(s.plan.Tree.Tasks()[s.task].Table()))
	case program.EffectSession:
		if s.life[s.task].leads {
			return fmt.Errorf("the task leads a session already")
		}
		s.life[s.task].leads = true
	case program.EffectLimit:
		return s.limit()
	case program.EffectMaps:
		return s.maps()
	case program.EffectCounts:
		return s.counts()
	case program.EffectBecomes:
		s.life[s.task].over = true
		return s.life[s.task].mustBeReleased()
	case program.EffectEnds:
		return s.end()
	case program.EffectFolder, program.EffectGroup, program.EffectUser, program.EffectNamespace:
		// They do not change the descriptor table.
	default: // EffectGivesPair belongs to OpPair
		return fmt.Errorf("the call cannot have the effect %d", s.note.Effect)
	}
	return nil
}

// uses checks that each argument that is the number of an open file refers to that file.
func (s step) uses() error {
	if program.CallRowOf(s.op.Nr).OnFD && s.op.Mode(0) == program.ModeValue && s.op.Nr != unix.SYS_DUP3 {
		if err := needs(s.t, int(s.op.Args[0])); err != nil {
			return err
		}
	}
	if err := s.usesPIDs(); err != nil {
		return err
	}
	for _, u := range s.plan.Extras[s.note.Extra].Uses {
		n, what := int(s.op.Args[u.Arg]), u.What
		if what.File == plan.OwnFile {
			what.File = s.note.File
		}
		switch c, ok := s.t.Cells.Get(n); {
		case !ok && s.plan.Options.Naive:
			return opFails{unix.EBADF}
		case !ok:
			return fmt.Errorf("number %d is free, not file %q", n, s.plan.EndName(what))
		case c.What != what && !s.plan.Options.Naive:
			return fmt.Errorf("number %d is %s, not file %q", n, s.plan.EndName(c.What), s.plan.EndName(what))
		}
	}
	return nil
}

// maps maps memory of an open file. The plan states which one: by its path if it is
// open only for a while.
func (s step) maps() error {
	if s.op.Args[3]&unix.MAP_ANONYMOUS != 0 {
		return nil
	}
	const fd = 4
	n, extra := int(int32(s.op.Args[fd])), &s.plan.Extras[s.note.Extra]
	if !slices.ContainsFunc(extra.Uses, func(u plan.Use) bool { return u.Arg == fd }) {
		return fmt.Errorf("the plan does not say which file it maps by number %d", n)
	}
	c, _ := s.t.Cells.Get(n)
	switch {
	case c.Look:
		return opFails{unix.EBADF}
	case c.What == plan.Helper && s.plan.Extras[c.opened].Path != extra.Path:
		return fmt.Errorf("number %d is %q, and not %q", n, s.plan.Extras[c.opened].Path, extra.Path)
	}
	return nil
}

// service applies the calls of a task that talk to the service.
func (s step) service() error {
	switch s.op.Nr {
	case unix.SYS_SENDMSG:
		return s.send()
	case unix.SYS_SETSOCKOPT:
		return s.needsHelper(int(s.op.Args[0]), plan.TheChannel)
	}
	return nil
}

func (s step) close(n int) error {
	if s.note.Verb == program.VerbHelper {
		s.expect(s.t, n, plan.TheStore, func() string { return fmt.Sprintf("the helper of task %q", s.name(s.task)) })
		s.own[s.task]--
	}
	if err := needs(s.t, n); err != nil {
		return err
	}
	s.t.drop(n)
	return nil
}

// limit sets the soft limit of descriptors: the kernel assigns only numbers below it.
func (s step) limit() error {
	if s.op.Args[0] != 0 || s.op.Args[1] != unix.RLIMIT_NOFILE {
		return nil // not a limit of descriptors
	}
	soft := program.WordsAt(s.plan.Arena.Base, s.plan.Arena.Data(), s.op.Args[2], 1)
	if soft == nil {
		return fmt.Errorf("the limit is not in the arena")
	}
	s.life[s.task].limit = soft[0]
	return nil
}

// counts decrements a count: of tasks that are not ready, which opens the gate at 0, of
// those that do not hold yet, or a counter that other tasks wait for.
func (s step) counts() error {
	switch s.op.Args[4] - s.plan.Arena.Base {
	case program.HeadLeft:
		return s.life[s.task].countReady()
	case program.HeadStarted:
		return s.life[s.task].countHeld()
	}
	return s.pass(s.op.Args[4])
}

// end ends a task: the kernel closes the descriptors that it does not share.
func (s step) end() error {
	if err := s.life[s.task].end(); err != nil {
		return err
	}
	for i, t := range s.Tables {
		if t == s.t && i != s.task {
			return nil // other tasks still use the table
		}
	}
	for _, n := range s.t.Cells.Numbers() {
		s.t.drop(n)
	}
	return nil
}

// born begins a task with the state that fork copies from its parent.
func (m *Model) born(task int) {
	m.life[task] = life{limit: math.MaxUint64}
	m.bornKnowing(task)
	if parent := m.plan.Tree.Tasks()[task].Parent; parent != nil {
		m.life[task].limit = m.life[parent.Index].limit
	}
}

// dup applies a dup3: of a number, or of a descriptor that the root gets from the runner.
func (s step) dup() error {
	from, to := int(s.op.Args[0]), int(s.op.Args[1])
	source := Cell{What: plan.TheStore}
	if s.op.Mode(0) == program.ModeValue {
		if s.note.Verb == program.VerbInstall {
			what := plan.FileEnd{File: s.note.File, End: int32(s.note.End)}
			s.expect(s.t, from, what, func() string { return fmt.Sprintf("file %q, still to be installed as fd %d", s.plan.EndName(what), to) })
		}
		if err := needs(s.t, from); err != nil {
			return err
		}
		source, _ = s.t.Cells.Get(from)
	} else if fe, lent := s.lentAt[s.op.Args[0]]; lent {
		source.What = fe
	}
	if was, taken := s.t.Cells.Get(to); !s.plan.Options.Naive && taken && !was.Look && wants(s.t.want, to, was.What) {
		return fmt.Errorf("number %d already has the described file", to)
	}
	source.Cloexec = s.op.Args[2]&unix.O_CLOEXEC != 0
	return s.place(to, source)
}
