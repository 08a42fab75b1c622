package planner

import (
	"golang.org/x/sys/unix"

	"regrow/internal/service"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree/recipe"
)

// How long an answer of the service is waited for. Both bounds only end what would never
// end by itself.
const (
	serviceSeconds = 60 // of SO_RCVTIMEO
	naiveSeconds   = 2
)

// client writes how a task talks to a service, over a connection of its own.
type client struct {
	*taskWriter
	channel int // where the task's end of it is
}

// connect gives the task a connection of its own: it makes a pair of sockets and sends one
// of them through the door, which came with the fork.
//
//	table:  door ─▶ door, channel, end ─▶ door, channel ─▶ channel
//	        socketpair       sendmsg(end), close     close (careful)
func connect(w *taskWriter) client {
	w.about(program.VerbChannel, w.task.Pos)
	private := w.pl.plan.Arena.Private()
	numbers := w.table.Land(nil, 2)
	w.inTable(numbers[1])
	op := w.add(program.OpPair, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, private+program.PrivPair)
	op.Nr = unix.SYS_SOCKETPAIR
	w.want(op, int64(numbers[0])|int64(numbers[1])<<32)
	w.numberHint()
	channel, end := numbers[0], numbers[1]
	w.table.Take(channel, plan.TheChannel)
	c := client{w, channel}
	c.ask(w.store, service.OpenWord, end)
	w.call(unix.SYS_CLOSE, uint64(end))
	limit := w.pl.plan.Arena.Words([]uint64{serviceSeconds, 0})
	w.call(unix.SYS_SETSOCKOPT, uint64(channel), unix.SOL_SOCKET, unix.SO_RCVTIMEO, limit, 16)
	w.note().Extra = w.pl.extra(plan.Extra{Name: "setsockopt(SO_RCVTIMEO)"})
	return c
}

// ask sends a message of the service: its number, which the runner will have put
// into the arena's head, the word, and a descriptor if file is not negative.
func (c client) ask(socket int, word uint64, file int) {
	a := c.pl.plan.Arena
	const half = 8
	iov := a.Words([]uint64{a.Base + program.HeadNumber, half, a.Words([]uint64{word}), half})
	var control, length uint64
	if file >= 0 {
		rights := unix.UnixRights(file)
		control, length = a.Bytes(rights), uint64(len(rights))
	}
	header := a.Words([]uint64{0, 0, iov, 2, control, length, 0})
	c.want(c.call(unix.SYS_SENDMSG, uint64(socket), header, unix.MSG_NOSIGNAL), service.MessageSize)
	c.note().Extra = c.pl.serviceHint()
}

// popFile asks for one file and takes the answer.
func (c client) popFile(fe plan.FileEnd, n int) {
	c.about(program.VerbPull, c.task.Pos)
	c.file, c.end = int(fe.File), int(fe.End)
	word := service.PopWord(service.ID(c.pl.message([]plan.FileEnd{fe}, 0)))
	c.ask(c.channel, word, -1)
	flag := uint64(unix.MSG_CMSG_CLOEXEC)
	if d := c.table.WantsEnd(n, fe); d != nil && !d.Cloexec {
		flag = 0 // no F_SETFD; nothing can exec before the table is finished
	}
	limit := uint64(0)
	if c.lenient {
		limit = c.pl.plan.Arena.Words([]uint64{naiveSeconds, 0})
	}
	c.add(program.OpTake, uint64(c.channel), word, 1, c.pl.plan.Arena.Int32s([]int32{int32(n)}), flag, limit)
	c.note().Extra = c.pl.serviceHint()
	c.table.Put(n, fe, flag != 0)
}

// pop takes open files from the service, one by one. As long as it can, it asks
// for the one that belongs where the next will land.
func (g gatherer) pop(files []plan.FileEnd) error {
	c := connect(g.taskWriter)
	g.call(unix.SYS_CLOSE, uint64(g.store))
	g.table.Release(g.store)
	g.store = c.channel
	if err := g.clearStore(); err != nil {
		return err
	}
	c.channel = g.store
	for len(files) > 0 {
		numbers := g.table.Land(nil, 1)
		g.inTable(numbers[0])
		var order []plan.FileEnd
		order, files = g.pl.scratch.choice.Order(files, numbers)
		c.popFile(order[0], numbers[0])
	}
	return nil
}

// serviceHint explains what the kernel answers where the service is gone.
func (pl *planner) serviceHint() int32 {
	if pl.serviceHints == 0 {
		pl.serviceHints = pl.extra(plan.Extra{Hints: []recipe.Hint{
			{Errno: int(unix.EPIPE), Text: "the service has ended"},
			{Errno: int(unix.ECONNRESET), Text: "the service has ended"},
			{Errno: int(unix.ETIMEDOUT), Text: "the service does not answer"},
			{Errno: int(unix.EAGAIN), Text: "the service takes no message"},
			{Errno: int(unix.EMFILE), Text: "the task's RLIMIT_NOFILE leaves no room for one more"},
		}})
	}
	return pl.serviceHints
}
