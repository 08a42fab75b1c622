package planner

import (
	"encoding/binary"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/internal/service"
	"regrow/restore/internal/plan"
)

// nextDepth gives how many sockets there are on the way to the next message.
func (pl *planner) nextDepth() int {
	return pl.plan.Layout.Place(fdstore.ID(len(pl.plan.Messages)), 1).Depth
}

// message gives the ID of a message with exactly these open files, at this depth:
// their order was chosen for the numbers that the way leaves free.
func (pl *planner) message(files []plan.FileEnd, depth int) fdstore.ID {
	key := append(pl.scratch.key[:0], byte(depth))
	for _, fe := range files {
		key = binary.NativeEndian.AppendUint32(key, uint32(fe.File))
		key = binary.NativeEndian.AppendUint32(key, uint32(fe.End))
	}
	pl.scratch.key = key
	id, ok := pl.messageIDs[string(key)]
	if !ok {
		id = fdstore.ID(len(pl.plan.Messages))
		pl.messageIDs[string(key)] = id
		pl.plan.Messages = append(pl.plan.Messages, append([]plan.FileEnd(nil), files...))
		pl.plan.Words[wordOf(pl.plan, id, len(files))] = id
	}
	return id
}

// wordOf gives what a pull of a message asks for.
func wordOf(p *plan.Plan, id fdstore.ID, files int) wire.Word {
	if p.Options.Strategy == plan.StrategyService {
		return wire.Word(service.PopWord(service.ID(id)))
	}
	return p.Layout.Place(id, files).Word
}
