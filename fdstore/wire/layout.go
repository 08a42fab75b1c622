package wire

import "math"

// ID is the number of a message in its store, counted from 0. It is valid in every
// process that has the store, as long as the store exists.
type ID uint32

// Layout determines in which sockets the messages of a store are. The header contains
// it, so every process that opens the store knows it.
//
//	Flat     header │ 0 │ 1 │ 2 │ ...
//
//	Nested   header │ 0 ... 31 │ shard 0 ... shard 31 │ branch 0 │ branch 1 ...
//	                                │                      │
//	                                ▼                      ▼
//	                           32 ... 95              shard ... shard (64)
//	                                                    │
//	                                                    ▼
//	                                               2080 ... 2143
//
// Shards and branches are sockets of the same kind, each stored as the only
// file of a message.
type Layout uint16

// The layouts. The value is the number of messages that are in the root itself.
const (
	// Nested has the first 32 messages in the root, the next ones in 32 shards of
	// 64 messages, and the rest in branches of 64 shards. The kernel walks a queue
	// from its head, so the cost of a get is proportional to the length of the
	// queue, and most of it is for memory that is in no cache. All queues but the
	// root's fit into any send buffer.
	Nested Layout = 32
	// Flat has all messages in the root: one socket, and one pull for any message.
	Flat Layout = math.MaxUint16
)

const (
	// ShardSize is the number of messages in a shard.
	ShardSize = 64
	// BranchSize is the number of shards in a branch.
	BranchSize = 64
	rootShards = 32 // of the root itself

	maxQueues   = math.MaxUint16
	maxBranches = (maxQueues - rootShards) / (1 + BranchSize)
)

// Known reports whether l is one of the layouts of this package.
func (l Layout) Known() bool { return l == Flat || l == Nested }

// Limit returns the largest number of messages. In a flat store the peek offset of the
// last message must fit into a C int; in a nested store the number of a queue has 16
// bits.
func (l Layout) Limit() int {
	if l == Flat {
		return math.MaxInt32 / PayloadSize // the header takes one
	}
	return int(l) + (rootShards+maxBranches*BranchSize)*ShardSize
}

// Place tells how to get a message: the nested sockets to pull, the first one from the
// root and the next one from the first, and the message's own word.
type Place struct {
	Way   [2]Word // words of the messages that carry the nested sockets
	Depth int     // number of nested sockets, 0 to 2
	Word  Word    // of the message
}

// Place returns the place of message id with n files. It depends on nothing else.
func (l Layout) Place(id ID, n int) Place {
	if l == Flat || id < ID(l) {
		return Place{Word: NewWord(Files, n, 0, uint32(id)+1)}
	}
	rest := uint32(id) - uint32(l)
	shard, position := rest/ShardSize, rest%ShardSize
	root := 1 + uint32(l)
	if shard < rootShards {
		return Place{
			Depth: 1, Way: [2]Word{NewWord(Socket, 1, 0, root+shard)},
			Word: NewWord(Files, n, 1+shard, position),
		}
	}
	branch, shard := (shard-rootShards)/BranchSize, (shard-rootShards)%BranchSize
	queue := 1 + rootShards + branch*(1+BranchSize) // the branch; its shards follow
	return Place{
		Depth: 2, Way: [2]Word{NewWord(Socket, 1, 0, root+rootShards+branch), NewWord(Socket, 1, queue, shard)},
		Word: NewWord(Files, n, queue+1+shard, position),
	}
}

// Word is the second half of a payload. It describes the message:
//
//	63      56 55      48 47              32 31                            0
//	│  kind   │  files   │      queue      │           position            │
//
// kind 1: files, 2: a socket, 3: the header; files: how many it carries; queue:
// 0 for the root, then the shards and branches in the order in which they are
// made; position: in its queue, from 0. The header has the layout in place of
// the queue and a magic number in place of its position, which is 0.
type Word uint64

// Kind is what a message carries.
type Kind uint8

// The kinds of messages.
const (
	Files  Kind = 1
	Socket Kind = 2
	Header Kind = 3
)

// magic is in the header: "fds1" in the bytes of a little-endian machine.
const magic = 0x31736466

// NewWord returns a word. files is 0 to [MaxGroup], queue has 16 bits.
func NewWord(kind Kind, files int, queue, position uint32) Word {
	return Word(kind)<<56 | Word(uint8(files))<<48 | Word(queue&0xffff)<<32 | Word(position)
}

// HeaderWord is the word of a root's first message. It carries the catalog, if
// there is one.
func (l Layout) HeaderWord(files int) Word { return NewWord(Header, files, uint32(l), magic) }

// ParseHeader returns the layout of a header, and false if w is not the word of a
// header. The layout need not be [Layout.Known].
func (w Word) ParseHeader() (Layout, bool) {
	return Layout(w >> 32), w.Kind() == Header && uint32(w) == magic
}

// Kind returns what the message carries.
func (w Word) Kind() Kind { return Kind(w >> 56) }

// Offset returns the value of SO_PEEK_OFF for a peek at this message, in bytes from the
// head of its queue.
func (w Word) Offset() int32 { return int32(w.Position()) * PayloadSize }

// Position returns the number of the message in its queue, from 0.
func (w Word) Position() uint32 {
	if w.Kind() == Header {
		return 0
	}
	return uint32(w)
}

// Queue returns the number of the message's queue: 0 for the root.
func (w Word) Queue() uint32 { return uint32(w>>32) & 0xffff }

// Files returns how many files the message carries, 0 to [MaxGroup].
func (w Word) Files() int { return int(w >> 48 & 0xff) }

// Where returns the word without the number of files.
func (w Word) Where() Word { return w &^ (0xff << 48) }
