package assign

import (
	"encoding/binary"
	"math"

	"regrow/fdstore"
	"regrow/restore/internal/plan"
)

// FlatMessages is how many messages a store may have at most to be one socket.
// More cost a task more time to step over than the way through shards does, and
// an ordinary user's socket more room than it may have (fdstore, Limits).
const FlatMessages = 500

// Layout chooses the form of the store. stored says by file index what comes through it.
func Layout(p *plan.Plan, stored []bool) fdstore.Layout {
	switch o := p.Options; {
	case o.Strategy != plan.StrategyFDStore || o.Naive:
	case o.Layout != 0:
		return o.Layout
	case mostMessages(p, stored) > FlatMessages:
		return fdstore.Nested
	}
	return fdstore.Flat
}

// mostMessages gives a number of messages that the store will not exceed, or one
// above FlatMessages. Tasks with the same open files at the same numbers take the
// same messages.
func mostMessages(p *plan.Plan, stored []bool) int {
	most := 0
	var buf []byte
	seen := map[string]bool{}
	for _, task := range p.Tree.Tasks() {
		n, key := 0, buf[:0]
		for _, d := range task.FDs {
			file := uint32(math.MaxUint32) // its own: only the number counts
			if stored[d.Open.Index] {
				n++
				file = uint32(d.Open.Index)
			}
			key = binary.NativeEndian.AppendUint32(key, uint32(d.FD))
			key = binary.NativeEndian.AppendUint32(key, file)
			key = append(key, byte(d.End))
		}
		buf = key
		if n == 0 || seen[string(key)] {
			continue
		}
		seen[string(key)] = true
		if most += (n + fdstore.MaxGroup - 1) / fdstore.MaxGroup; most > FlatMessages {
			break
		}
	}
	return most
}

// StoreNumber finds the number where the store is in the way of the fewest
// tasks, the lowest of them: a high one would cost every task a larger table.
func StoreNumber(p *plan.Plan) int {
	const low = 256
	var users [low]int
	for _, task := range p.Tree.Tasks() {
		for _, d := range task.FDs {
			if d.FD < low {
				users[d.FD]++
			}
		}
	}
	best := 0
	for n := 1; n < low && uint64(n) < p.Host.HardFiles; n++ {
		if users[n] < users[best] {
			best = n
		}
	}
	return best
}

// OverFlat reports whether the store has more messages than one socket should.
func OverFlat(p *plan.Plan) bool {
	return p.Options.Strategy == plan.StrategyFDStore && !p.Options.Naive && p.Layout == fdstore.Flat && p.Options.Layout == 0 && len(p.Messages) > FlatMessages
}
