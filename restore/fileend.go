package restore

import "regrow/tasktree"

// fileEnd is one open file of the description: one end of one entry.
type fileEnd struct {
	file, end int32
}

// What takes a number beside an open file of the description.
var (
	theStore   = fileEnd{file: -1} // the store, or the door of the service
	theChannel = fileEnd{file: -5} // the task's own way to the service
	theEnd     = fileEnd{file: -6} // the other end of it, until it is sent there
	theShard   = fileEnd{file: -3} // a socket of the store, while something is pulled from it
	helper     = fileEnd{file: -2} // something that is closed in the end
	nothing    = fileEnd{file: -4} // a free number, where one has to be told from a taken one
)

func endOf(d *tasktree.Descriptor) fileEnd {
	return fileEnd{int32(d.Open.Index), int32(d.End)}
}

// endName names an open file of the description, or what else takes a number.
func (p *Plan) endName(fe fileEnd) string {
	switch fe {
	case theStore:
		if p.options.Strategy == StrategyService {
			return "[service]"
		}
		return "[store]"
	case theShard:
		return "[shard]"
	case theChannel:
		return "[channel]"
	case theEnd:
		return "[end]"
	case helper:
		return "[helper]"
	}
	return p.tree.Files[fe.file].EndName(int(fe.end))
}

// lent is an open file that the root takes over from the runner, for all tasks.
type lent struct {
	fileEnd
	number int    // in the root and in what it forks
	cell   uint64 // address of the number that it has in the runner
}

// extra is what messages say of an op beyond its note.
type extra struct {
	name  string // of the call
	short string // message for ReasonUnwanted
	hints []tasktree.Hint
	path  string // that the call opens
}
