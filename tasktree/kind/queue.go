package kind

import (
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// queue is what a pipe and a FIFO have in common: what waits between their ends, and how
// much may.
type queue struct {
	capacity *tasktree.Number
	content  *tasktree.Text
	packets  *[]tasktree.Text // in place of content
	packet   *schema.Bool
	read     *tasktree.Number
	owner    *Owner
	mode     *tasktree.Number
}

// maxPipe is the largest capacity that F_SETPIPE_SZ takes, see fs/pipe.c,
// round_pipe_size.
const maxPipe = 1 << 31

// pipePage is a slot of a pipe: it holds so many bytes, or one packet.
const pipePage = 4096

// defaultPipe is the capacity of a new pipe, in bytes, for a user who is below
// fs.pipe-user-pages-soft. See pipe(7).
const defaultPipe = 16 * pipePage

var pipeFlags = []Flag{
	{Name: "O_APPEND", Bits: unix.O_APPEND},
	{Name: "O_NONBLOCK", Bits: unix.O_NONBLOCK},
	{Name: "O_DIRECT", Bits: unix.O_DIRECT},
	{Name: "O_NOATIME", Bits: unix.O_NOATIME},
	{Name: "O_ASYNC", Bits: unix.O_ASYNC},
	{Name: "O_CLOEXEC", Refuse: refuseCloexec},
}

const (
	docPacket = "`true`: packet mode, O_DIRECT of pipe(7). Each entry of `content` is a packet, which one read takes whole or cuts"
	docRead   = "so many bytes stood before `content` and were read: they still take up room, as the kernel frees whole pages of 4096 bytes only"
)

func (q queue) fieldsOfContent(f schema.Fields) {
	f.Int("capacity", q.capacity, schema.Int{Lo: 1, Hi: maxPipe, Unit: "bytes", Sized: true, Help: schema.Help{
		Compare: schema.AtLeast, Doc: "bytes, rounded up as the kernel does (a power of two pages)", Default: "the kernel's, usually 65536",
	}})
	moves := schema.Help{Moves: true}
	f.Either("content", schema.Either{
		Scalar: func(f schema.Fields) { f.Bytes("", q.content, moves) },
		Whole: func(f schema.Fields) {
			f.List("", packets{q.content, q.packets}, schema.Help{Moves: true, Want: "a text, or a list of packets"})
		},
		Alone: len(*q.packets) == 0,
		Help: schema.Help{
			Moves: true, Doc: "bytes that wait in it, at most its capacity; with `packet: true` a list of packets, each of 1 to 4096 bytes and in a page of its own", Default: "none",
		},
	})
	f.Bool("packet", q.packet, schema.Help{Doc: docPacket, Default: "`false`"})
	f.Int("read", q.read, schema.Int{Hi: pipePage - 1, Unit: "bytes", Help: schema.Help{Moves: true, Doc: docRead, Default: "0"}})
}

// fieldsOfFile binds the keys of the inode. mode says what its permissions are by default.
func (q queue) fieldsOfFile(f schema.Fields, mode string) {
	q.owner.fields(f, "a user, or `[user, group]`, by number; all ends show it")
	f.Mode("mode", q.mode, schema.Help{Doc: "permissions, octal with a leading `0` or `0o`, or in quotes; all ends show them", Default: mode})
}

// packets is a list of packets, or a text in its stead.
type packets struct {
	text *tasktree.Text
	list *[]tasktree.Text
}

var _ schema.Worded = packets{}

func (p packets) Word() *schema.Text { return p.text }

func (p packets) Len() int { return len(*p.list) }

func (p packets) Add() { *p.list = append(*p.list, tasktree.Text{}) }

func (p packets) Item(i int, f schema.Fields) {
	f.Bytes("", &(*p.list)[i], schema.Help{Moves: true})
}

// waiting lists what is written: a packet, or all bytes, each.
func (q queue) waiting() []tasktree.Text {
	if len(*q.packets) == 0 && q.content.Value != "" {
		return []tasktree.Text{*q.content}
	}
	return *q.packets
}

// room is the capacity in bytes, and what to say of it.
func (q queue) room() (bytes int64, said string) {
	if q.capacity.Value > 0 {
		return roundPipe(q.capacity.Value), fmt.Sprintf("%d rounded up", q.capacity.Value)
	}
	return defaultPipe, "the usual one, say capacity for a larger one"
}

// check applies the rules. what names it in messages: "pipe".
func (q queue) check(what string, report func(tasktree.Problem)) {
	bad := func(pos tasktree.Pos, path, format string, args ...any) {
		report(tasktree.Problem{Pos: pos, Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	room, said := q.room()
	all := q.waiting()
	if q.packet.Value {
		q.checkPackets(all, room, said, bad)
	} else {
		if len(*q.packets) > 0 {
			bad((*q.packets)[0].Pos, "content", "a list of packets goes with packet: true; without it a %s holds one text", what)
			return
		}
		if n := int64(len(q.content.Value)) + q.read.Value; n > room {
			with := ""
			if q.read.Value > 0 {
				with = fmt.Sprintf(" with the %d that were read", q.read.Value)
			}
			bad(q.content.Pos, "content", "%d bytes%s do not fit into the %s's capacity of %d (%s)", n, with, what, room, said)
		}
	}
	switch {
	case q.read.Value == 0:
	case q.read.Value < 0 || q.read.Value >= pipePage: // a program's: a description is refused before
		bad(q.read.Pos, "read", "%d is out of range: expected 0 to %d", q.read.Value, pipePage-1)
	case q.packet.Value:
		bad(q.read.Pos, "read", "the rest of a packet is lost as soon as a part of it is read; drop read")
	case len(all) == 0:
		bad(q.read.Pos, "read", "when all is read no page is taken; drop read, or write the content that is left")
	}
	if q.mode.Value&^0o777 != 0 {
		bad(q.mode.Pos, "mode", "%#o: a %s is no program and no folder; only the bits of 0777 have a meaning", q.mode.Value, what)
	}
}

func (q queue) checkPackets(all []tasktree.Text, room int64, said string, bad func(pos tasktree.Pos, path, format string, args ...any)) {
	for i, p := range all {
		switch n := len(p.Value); {
		case n == 0:
			bad(p.Pos, fmt.Sprintf("content[%d]", i), "packet %d is empty; a write of no bytes makes none", i+1)
		case n > pipePage:
			bad(p.Pos, fmt.Sprintf("content[%d]", i), "packet %d has %d bytes, a packet pipe takes %d", i+1, n, pipePage)
		}
	}
	if slots := room / pipePage; int64(len(all)) > slots {
		bad(all[slots].Pos, "content", "%d packets: the capacity of %d bytes (%s) holds %d", len(all), room, said, slots)
	}
}

// need is what the host must have room for.
func (q queue) need() recipe.Need {
	if q.capacity.Value > 0 {
		return recipe.Need{What: recipe.PipePages, N: roundPipe(q.capacity.Value), Pos: q.capacity.Pos}
	}
	return recipe.Need{What: recipe.PipePages, N: newPipe()}
}

// newPipe is the capacity of a new pipe in bytes (PIPE_DEF_BUFFERS in
// include/linux/pipe_fs_i.h), for a user who is below fs.pipe-user-pages-soft.
func newPipe() int64 { return 16 * int64(unix.Getpagesize()) }

// size writes the step that sets the capacity by an end.
func (q queue) size(m recipe.Maker, fd recipe.Ref) {
	if q.capacity.Value == 0 {
		// The kernel makes it smaller without a word where the user has too many.
		m.Call(recipe.Call{
			Name: "fcntl(F_GETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing, When: recipe.PipesLimited,
			Args: []recipe.Arg{recipe.FD(fd), recipe.Int(unix.F_GETPIPE_SZ)},
			Want: newPipe(), HasWant: true, Short: "the pipe is smaller than usual, since all pipes of the user are over fs.pipe-user-pages-soft; " +
				"raise that, end programs that hold pipes, or write the capacity that will do",
		})
		return
	}
	m.At(q.capacity.Pos)
	size := roundPipe(q.capacity.Value)
	limits := fmt.Sprintf("%d bytes are over fs.pipe-max-size, or the user's pipes over fs.pipe-user-pages-soft; both bind without CAP_SYS_RESOURCE", size)
	m.Call(recipe.Call{
		Name: "fcntl(F_SETPIPE_SZ)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{recipe.FD(fd), recipe.Int(unix.F_SETPIPE_SZ), recipe.Int(size)},
		Hints: []recipe.Hint{
			{Errno: int(unix.EPERM), Text: limits},
			{Errno: int(unix.ENOMEM), Text: fmt.Sprintf("the kernel has no memory for %d bytes; CAP_SYS_RESOURCE alone lifts fs.pipe-max-size", size)},
		},
	})
}

// fill writes the content by w, which does not block and is in packet mode if the content
// is packets. What was read before is read again by r.
func (q queue) fill(m recipe.Maker, r, w recipe.Ref) {
	for _, text := range q.waiting() {
		m.At(text.Pos)
		data := append(make([]byte, q.read.Value), text.Value...)
		n := int64(len(data))
		m.Call(recipe.Call{
			Name: "write", Nr: unix.SYS_WRITE, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(w), recipe.Data(data), recipe.Int(n)},
			Want: n, HasWant: true, Short: "the pipe took only a part of its content: it is smaller than usual, since the user is over fs.pipe-user-pages-soft",
			Hints: []recipe.Hint{{Errno: int(unix.EAGAIN), Text: "the pipe is smaller than usual: the user is over fs.pipe-user-pages-soft"}},
		})
	}
	if n := q.read.Value; n > 0 {
		m.At(q.read.Pos)
		m.Call(recipe.Call{
			Name: "read", Nr: unix.SYS_READ, Effect: recipe.Nothing,
			Args: []recipe.Arg{recipe.FD(r), recipe.Data(make([]byte, n)), recipe.Int(n)},
			Want: n, HasWant: true, Short: "somebody else has read from it",
		})
	}
}

// shapeFile writes the steps that give it its owner and its permissions, by an end.
func (q queue) shapeFile(m recipe.Maker, fd recipe.Ref) {
	q.owner.set(m, fd)
	if q.mode.Said() {
		setMode(m, fd, *q.mode)
	}
}

// roundPipe rounds a capacity up as the kernel does: a power of two pages of
// 4096 bytes (fs/pipe.c, round_pipe_size).
func roundPipe(n int64) int64 {
	if n <= pipePage {
		return pipePage
	}
	return 1 << bits.Len64(uint64(n-1))
}
