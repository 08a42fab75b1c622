package plan

import (
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// FileEnd is one open file of the description: one end of one entry.
type FileEnd struct {
	File, End int32
}

// What takes a number beside an open file of the description.
var (
	TheStore   = FileEnd{File: -1} // the store, or the door of the service
	TheChannel = FileEnd{File: -5} // the task's own way to the service
	TheEnd     = FileEnd{File: -6} // the other end of it, until it is sent there
	TheShard   = FileEnd{File: -3} // a socket of the store, while something is pulled from it
	Helper     = FileEnd{File: -2} // something that is closed in the end
	Nothing    = FileEnd{File: -4} // a free number, where one has to be told from a taken one
	Put        = FileEnd{File: -7} // what a bench has at a number of its choice
)

// EndOf gives the open file that a descriptor has.
func EndOf(d *tasktree.Descriptor) FileEnd {
	return FileEnd{int32(d.Open.Index), int32(d.End)}
}

// EndName names an open file of the description, or what else takes a number.
func (p *Plan) EndName(fe FileEnd) string {
	switch fe {
	case TheStore:
		if p.Options.Strategy == StrategyService {
			return "[service]"
		}
		return "[store]"
	case TheShard:
		return "[shard]"
	case TheChannel:
		return "[channel]"
	case TheEnd:
		return "[end]"
	case Helper:
		return "[helper]"
	case Put:
		return "[put]"
	}
	return p.Tree.Files[fe.File].EndName(int(fe.End))
}

// Lent is an open file that the root takes over from the runner, for all tasks.
type Lent struct {
	FileEnd
	Number int    // in the root and in what it forks
	Cell   uint64 // address of the number that it has in the runner
}

// OwnFile stands in a Use for the open file of the op's note.
const OwnFile = -100

// Use says that an argument of a call is the number of an open file.
type Use struct {
	Arg  int
	What FileEnd
}

// Learned is a number that is known only when the files are made, for the report.
type Learned struct {
	File int32 // index into Tree.Files
	Key  string
	At   uint64 // address of its first byte
	recipe.Part
}

// Number reads the number out of the memory of the arena, which begins at Base.
func (l *Learned) Number(base uint64, memory []byte) (n uint64) {
	for i, b := range memory[l.At-base:][:l.Size] {
		if l.BigEndian {
			n = n<<8 | uint64(b)
		} else {
			n |= uint64(b) << (8 * i) // of the machines that regrow runs on
		}
	}
	return n
}

// Extra is what messages say of an op beyond its note.
type Extra struct {
	Name  string // of the call
	Short string // message for ReasonUnwanted
	Hints []recipe.Hint
	Path  string // that the call opens
	Uses  []Use
}
