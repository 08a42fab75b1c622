package recipe

// NoRunner is for a [Maker] that is not the runner: it has the methods that only the
// runner can carry out. They panic: a spec has not the traits that its recipe needs.
type NoRunner struct {
	File string // what is made
}

// Refuse panics. what is a phrase: "wait".
func (n NoRunner) Refuse(what string) { panic("restore: bug: a task cannot " + what + ": " + n.File) }

// Caller implements [Maker].
func (n NoRunner) Caller(string) (r Ref) { n.Refuse("take over the caller's descriptors"); return r }

// Use implements [Maker].
func (n NoRunner) Use(string, int) (r Ref) { n.Refuse("use another open file"); return r }

// Cell implements [Maker].
func (n NoRunner) Cell() (c Cell) { n.Refuse("keep numbers"); return c }

// Await implements [Maker].
func (n NoRunner) Await(Call, Cell, int64) { n.Refuse("wait") }

// Learn implements [Maker].
func (n NoRunner) Learn(string, Part) { n.Refuse("tell numbers") }

// Undo implements [Maker].
func (n NoRunner) Undo(string) { n.Refuse("undo") }

// Message implements [Maker].
func (n NoRunner) Message(Message) { n.Refuse("send messages") }

// Mapped implements [Maker].
func (n NoRunner) Mapped(Mapped) { n.Refuse("map files") }

// Bench implements [Maker].
func (n NoRunner) Bench(Bench, func(BenchMaker)) { n.Refuse("have another process make steps") }

// Keep implements [Maker].
func (n NoRunner) Keep(Ref, Until) { n.Refuse("keep descriptors") }

// Reopen implements [Maker].
func (n NoRunner) Reopen(Reopen) (r Ref) { n.Refuse("open another open file again"); return r }
