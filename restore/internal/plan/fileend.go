package plan

import (
	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// FileEnd is one open file of the description: one end of one entry.
type FileEnd struct {
	File, End int32
}

// What else a number can refer to.
var (
	TheStore   = FileEnd{File: -1} // the store, or the door of the service
	TheChannel = FileEnd{File: -5} // the task's channel to the service
	TheEnd     = FileEnd{File: -6} // the service's end of it, until it is sent
	TheShard   = FileEnd{File: -3} // a socket of a nested store, while files are pulled from it
	Helper     = FileEnd{File: -2} // a descriptor that is closed before the task is ready
	Nothing    = FileEnd{File: -4} // a free number
	Put        = FileEnd{File: -7} // an open file at a number that a bench has chosen
)

// EndOf returns the open file of a descriptor.
func EndOf(d *tasktree.Descriptor) FileEnd {
	return FileEnd{int32(d.Open.Index), int32(d.End)}
}

// EndName returns the name of an open file of the description, or of a helper.
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

// Lent is an open file that the root gets from the runner, for all tasks.
type Lent struct {
	FileEnd
	Number int    // in the root and in the tasks
	Cell   uint64 // address at which the runner writes its own number of the file
}

// OwnFile in a Use means the open file of the op's note.
const OwnFile = -100

// Use says that an argument of a call is the number of an open file.
type Use struct {
	Arg  int
	What FileEnd
}

// Learned is a number for the report that is known only when the files are made.
type Learned struct {
	File int32 // index into Tree.Files
	Key  string
	At   uint64 // address of its first byte
	recipe.Part
}

// Number reads the number from the memory of the arena, which begins at address base.
func (l *Learned) Number(base uint64, memory []byte) (n uint64) {
	for i, b := range memory[l.At-base:][:l.Size] {
		if l.BigEndian {
			n = n<<8 | uint64(b)
		} else {
			n |= uint64(b) << (8 * i) // the machines of regrow are little-endian
		}
	}
	return n
}

// Extra has what messages say about an op in addition to its note.
type Extra struct {
	Name  string // of the call
	Short string // message for ReasonUnwanted
	Hints []recipe.Hint
	Path  string // that the call opens
	Uses  []Use

	Folder string // that the call is made in, "": the current one
}

// LearnedNumbers returns the learned numbers by open file and key, nil if there are none.
// memory is the arena at base.
func (p *Plan) LearnedNumbers(base uint64, memory []byte) map[string]map[string]uint64 {
	if len(p.Learned) == 0 {
		return nil
	}
	numbers := map[string]map[string]uint64{}
	for i := range p.Learned {
		n := &p.Learned[i]
		name := p.Tree.Files[n.File].Name
		if numbers[name] == nil {
			numbers[name] = map[string]uint64{}
		}
		numbers[name][n.Key] = n.Number(base, memory)
	}
	return numbers
}
