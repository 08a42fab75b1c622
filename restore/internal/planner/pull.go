package planner

import (
	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
)

// pull takes the open files out of the store, in as few messages as possible. Then it
// brings them to more of their numbers, as long as a message is worth its calls.
//
//	message in the root     store ──▶ files
//	message in a shard      store ──▶ shard ──▶ files, shard closed
//	... of a branch         store ──▶ branch ──▶ shard, branch closed ──▶ files, shard closed
func (g gatherer) pull(files []plan.FileEnd) {
	for len(files) > 0 {
		way := g.way()
		order, numbers, rest := g.pl.scratch.choice.Next(files)
		g.takeMessage(way, order, numbers)
		files = rest
	}
	for {
		way := g.way()
		order, numbers := g.pl.scratch.choice.Repeat()
		if len(order) == 0 {
			if n := len(way); n > 0 {
				g.table.Release(way[n-1])
			}
			return
		}
		g.takeMessage(way, order, numbers)
	}
}

// way gives where the sockets on the way to the next message land: before its files, on the
// lowest free numbers. The last one stays until the files are there. The result is valid
// until the next call.
func (g gatherer) way() []int {
	way := g.table.Land(g.pl.scratch.way, g.pl.nextDepth())
	g.pl.scratch.way = way
	if n := len(way); n > 0 {
		g.table.Take(way[n-1], plan.TheShard)
	}
	return way
}

// takeMessage goes a way to the next message and takes that.
func (g gatherer) takeMessage(way []int, order []plan.FileEnd, numbers []int) {
	depth, from := len(way), g.store
	if depth > 0 {
		from = way[depth-1]
	}
	g.inTable(max(from, numbers[len(numbers)-1]))
	place := g.pl.plan.Layout.Place(g.pl.message(order, depth), len(order))
	g.pullSockets(place, way)
	g.pullMessage(from, place.Word, order, numbers)
	if depth > 0 {
		g.call(unix.SYS_CLOSE, uint64(from))
		g.table.Release(from)
	}
}

// pullSockets goes the way to a message. Each socket lands on the next number,
// and the one before is closed.
func (g gatherer) pullSockets(p wire.Place, numbers []int) {
	g.about(program.VerbPull, g.task.Pos)
	from := g.store
	for i, w := range p.Way[:p.Depth] {
		landed := g.pl.plan.Arena.Int32s([]int32{int32(numbers[i])})
		g.add(program.OpPull, uint64(from), uint64(w), 1, landed, unix.MSG_CMSG_CLOEXEC)
		g.numberHint()
		if i > 0 {
			g.call(unix.SYS_CLOSE, uint64(from))
		}
		from = numbers[i]
	}
}

// pullMessage takes a message from a socket. Its files land on the numbers.
func (g gatherer) pullMessage(from int, w wire.Word, files []plan.FileEnd, numbers []int) {
	flag := uint64(unix.MSG_CMSG_CLOEXEC)
	inPlace, without := 0, 0
	landed := g.pl.scratch.landed[:0]
	for i, n := range numbers {
		landed = append(landed, int32(n))
		if d := g.table.WantsEnd(n, files[i]); d != nil {
			inPlace++
			if !d.Cloexec {
				without++
			}
		}
	}
	g.pl.scratch.landed = landed
	if 2*without > inPlace {
		flag = 0 // fewer F_SETFD; nothing can exec before the table is finished
	}
	g.about(program.VerbPull, g.task.Pos)
	g.file, g.end = int(files[0].File), int(files[0].End)
	g.add(program.OpPull, uint64(from), uint64(w), uint64(len(files)), g.pl.plan.Arena.Int32s(landed), flag)
	g.numberHint()
	for i, n := range numbers {
		g.table.Take(n, files[i])
		g.table.SetCloexec(n, flag != 0)
		// A number that is right stays as it is, so the file is taken from there.
		if _, there := g.table.Place(files[i]); !there || g.table.WantsEnd(n, files[i]) != nil {
			g.table.SetPlace(files[i], n)
		}
	}
}
