package planner

import (
	"golang.org/x/sys/unix"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/internal/service"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/program"
	"regrow/tasktree/recipe"
)

// Waits for an answer of the service. Both only end what would never end.
const (
	serviceSeconds = 60 // of SO_RCVTIMEO
	naiveSeconds   = 2
)

// openChannel gives the task a way of its own to the service: it makes a pair of
// sockets and sends one of them through the door, which it got by the fork.
//
//	table:  door ─▶ door, channel, end ─▶ door, channel ─▶ channel
//	        socketpair       sendmsg(end), close     close (careful)
func (tp *taskPlanner) openChannel() {
	tp.about(program.VerbChannel, tp.task.Pos)
	private := tp.pl.plan.Arena.Private()
	numbers := tp.table.Land(nil, 2)
	tp.inTable(numbers[1])
	op := tp.add(program.OpPair, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, private+program.PrivPair)
	op.Nr = unix.SYS_SOCKETPAIR
	tp.want(op, int64(numbers[0])|int64(numbers[1])<<32)
	tp.numberHint()
	channel, end := numbers[0], numbers[1]
	tp.table.Take(channel, plan.TheChannel)
	tp.ask(tp.store, service.OpenWord, end)
	tp.call(unix.SYS_CLOSE, uint64(end))
	limit := tp.pl.plan.Arena.Words([]uint64{serviceSeconds, 0})
	tp.call(unix.SYS_SETSOCKOPT, uint64(channel), unix.SOL_SOCKET, unix.SO_RCVTIMEO, limit, 16)
	tp.note().Extra = tp.pl.extra(plan.Extra{Name: "setsockopt(SO_RCVTIMEO)"})
	tp.channel = channel
}

// ask sends a message of the service: its number, which the runner will have put
// into the arena's head, the word, and a descriptor if file is not negative.
func (tp *taskPlanner) ask(socket int, word uint64, file int) {
	a := tp.pl.plan.Arena
	const half = 8
	iov := a.Words([]uint64{a.Base + program.HeadNumber, half, a.Words([]uint64{word}), half})
	var control, length uint64
	if file >= 0 {
		rights := unix.UnixRights(file)
		control, length = a.Bytes(rights), uint64(len(rights))
	}
	header := a.Words([]uint64{0, 0, iov, 2, control, length, 0})
	tp.want(tp.call(unix.SYS_SENDMSG, uint64(socket), header, unix.MSG_NOSIGNAL), service.MessageSize)
	tp.note().Extra = tp.pl.serviceHint()
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

// pop takes open files from the service, one by one. As long as it can, it asks
// for the one that belongs where the next will land.
func (tp *taskPlanner) pop(files []plan.FileEnd) error {
	tp.openChannel()
	tp.call(unix.SYS_CLOSE, uint64(tp.store))
	tp.table.Release(tp.store)
	tp.store = tp.channel
	if err := tp.clearStore(); err != nil {
		return err
	}
	tp.channel = tp.store
	for len(files) > 0 {
		numbers := tp.table.Land(nil, 1)
		tp.inTable(numbers[0])
		var order []plan.FileEnd
		order, files = tp.landing(files, numbers)
		tp.popFile(order[0], numbers[0])
	}
	return nil
}

// popFile asks for one file and takes the answer.
func (tp *taskPlanner) popFile(fe plan.FileEnd, n int) {
	tp.about(program.VerbPull, tp.task.Pos)
	tp.file, tp.end = int(fe.File), int(fe.End)
	word := service.PopWord(service.ID(tp.pl.message([]plan.FileEnd{fe}, 0)))
	tp.ask(tp.channel, word, -1)
	flag := uint64(unix.MSG_CMSG_CLOEXEC)
	if d := tp.wants(n); d != nil && plan.EndOf(d) == fe && !d.Cloexec {
		flag = 0 // no F_SETFD; nothing can exec before the table is finished
	}
	limit := uint64(0)
	if tp.lenient {
		limit = tp.pl.plan.Arena.Words([]uint64{naiveSeconds, 0})
	}
	tp.add(program.OpTake, uint64(tp.channel), word, 1, tp.pl.plan.Arena.Int32s([]int32{int32(n)}), flag, limit)
	tp.note().Extra = tp.pl.serviceHint()
	tp.table.Take(n, fe)
	tp.at.Set(fe, n)
	tp.cloexec.Set(n, flag != 0)
}

// wordOf gives what a pull of a message asks for.
func wordOf(p *plan.Plan, id fdstore.ID, files int) wire.Word {
	if p.Options.Strategy == plan.StrategyService {
		return wire.Word(service.PopWord(service.ID(id)))
	}
	return p.Layout.Place(id, files).Word
}
