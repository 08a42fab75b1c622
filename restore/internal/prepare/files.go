package prepare

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/expected"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
	"regrow/restore/internal/trace"
	"regrow/restore/internal/words"
	"regrow/tasktree"
)

// Files are the open files of a restore that this process makes, or borrows from its
// caller, and what keeps them for the tasks. One goroutine at a time may use them.
type Files struct {
	maker

	plan  *plan.Plan
	arena *postfork.Arena
	trace *trace.Trace
	store keeper // nil if no open file goes through one
	slots []slot
	aside lender
	found map[uint64]foundProgram // programs that were looked up, by address of their places
}

// slot holds a descriptor that was made, or borrowed from the caller.
type slot struct {
	fd       int
	open     bool
	borrowed bool
}

// New starts the store or the service of a plan whose arena is mapped; no file is made yet.
// It borrows its arguments for as long as the Files are used. The caller ends them by
// [Files.CloseFDs] and [Files.CloseStore].
//
// The error is that of [fdstore.New] or of starting a service.
func New(p *plan.Plan, arena *postfork.Arena, opener *safepath.Opener, undo *Undo, t *trace.Trace) (*Files, error) {
	f := &Files{
		maker: maker{paths{opener}, undo}, plan: p, arena: arena, trace: t,
		slots: make([]slot, p.Slots), aside: lender{lent: p.Lent}, found: map[uint64]foundProgram{},
	}
	var err error
	f.store, err = newKeeper(p)
	return f, err
}

// Prepare makes the open files, fills the store and finds the programs. Tasks with other
// rights find theirs themselves: these are looked at when all are ready. It may block
// without end, see [Undo.GiveUp]; what it returns then is [plan.ErrCanceled].
func (f *Files) Prepare() error {
	if err := expected.Check(f.plan, f.opener); err != nil {
		return err
	}
	if err := f.carryOut(&f.plan.Prepare); err != nil {
		return err
	}
	if f.plan.Tree.HasNamespace(tasktree.NamespaceUser) {
		return nil
	}
	return f.checkPrograms()
}

// checkPrograms looks at the programs that have been found.
func (f *Files) checkPrograms() error {
	if f.plan.Held == len(f.plan.Tasks) {
		return nil
	}
	done := f.trace.Stage("look at the programs")
	defer done()
	c := host.NewProgramCheck(f.plan, func(of plan.FileEnd) (int, bool) {
		slot, ok := f.plan.SlotsOf[of]
		if !ok || !f.slots[slot].open {
			return -1, false
		}
		return f.slots[slot].fd, true
	})
	base, data := f.plan.Arena.Base, f.plan.Arena.Data()
	return plan.JoinPaths(c.Check(func(cell uint64) (string, bool) {
		return program.StringAt(base, data, binary.NativeEndian.Uint64(f.arena.Bytes()[cell-base:]))
	}))
}

// Commit cuts the files that O_TRUNC cuts, at the commit point: from the first one on,
// the restore has changed what it does not put back.
func (f *Files) Commit() error { return f.carryOut(&f.plan.Commit) }

// CheckCommit finds beforehand what would make [Files.Commit] fail.
func (f *Files) CheckCommit() error {
	if f.plan.Tree.HasNamespace(tasktree.NamespaceUser) {
		if err := f.checkPrograms(); err != nil {
			return err
		}
	}
	prog := &f.plan.Commit
	for i := range prog.Ops {
		if prog.Ops[i].Kind != program.OpTruncate {
			continue
		}
		if _, err := truncates(f.slots[prog.Ops[i].Args[0]].fd); err != nil {
			return words.OpError(f.plan, words.Failed{Task: -1, Prog: prog, Op: i, Err: err, Explain: host.ExplainPath})
		}
	}
	return nil
}

// Seal ends the filling of the store.
func (f *Files) Seal() error {
	if f.store == nil {
		return nil
	}
	return f.store.seal()
}

// Store gives the descriptor of the store, or of the service's door, which stays the
// Files' own, and the number that stands in every payload. ok is false if no open file
// goes through one.
func (f *Files) Store() (fd int, number uint64, ok bool) {
	if f.store == nil {
		return -1, 0, false
	}
	return f.store.fd(), f.store.number(), true
}

// Made gives the descriptors that are open, and that of the store as [plan.TheStore].
// They stay the Files' own.
func (f *Files) Made() map[plan.FileEnd]int {
	made := map[plan.FileEnd]int{}
	for fe, s := range f.plan.SlotsOf {
		if f.slots[s].open {
			made[fe] = f.slots[s].fd
		}
	}
	if fd, _, ok := f.Store(); ok {
		made[plan.TheStore] = fd
	}
	return made
}

// CloseFDs closes what was made, not what was borrowed. A second call does nothing.
func (f *Files) CloseFDs() {
	for i := range f.slots {
		if s := &f.slots[i]; s.open && !s.borrowed {
			_ = unix.Close(s.fd)
			s.open = false
		}
	}
}

// CloseStore closes what keeps the open files, if it is still there.
func (f *Files) CloseStore() (err error) {
	if f.store != nil {
		err = f.store.close()
		f.store = nil
	}
	return err
}
