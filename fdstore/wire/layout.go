package wire

import "math"

// ID is the number of a message in its store; the first is 0, the next one 1. It
// is valid in every process that holds the store, as long as the store lives.
type ID uint32

// Layout says where the messages of a store lie. It stands in the header, so
// whoever opens a store knows it.
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

// The layouts. The number is how many messages the root holds itself.
const (
	// Nested keeps what comes after the first 32 messages in shards of 64,
	// and what comes after the first 32 shards in branches of 64 shards: the
	// kernel walks a queue from its head, so a long one costs each get time in
	// proportion to its length, and most of it for memory that is in no cache
	// any more. All queues but the root's fit into any send buffer.
	Nested Layout = 32
	// Flat keeps all in the root: one socket, and one pull to any message.
	Flat Layout = math.MaxUint16
)

const (
	// ShardSize is how many messages a shard holds.
	ShardSize = 64
	// BranchSize is how many shards a branch holds.
	BranchSize = 64
	rootShards = 32 // of the root itself

	maxQueues   = math.MaxUint16
	maxBranches = (maxQueues - rootShards) / (1 + BranchSize)
)

// Known reports whether l is one of the layouts of this package.
func (l Layout) Known() bool { return l == Flat || l == Nested }

// Limit returns how many messages fit: in the root SO_PEEK_OFF, a C int, must
// reach the last; of nested queues the number has 16 bits.
func (l Layout) Limit() int {
	if l == Flat {
		return math.MaxInt32 / PayloadSize // the header takes one
	}
	return int(l) + (rootShards+maxBranches*BranchSize)*ShardSize
}

// Place is the way to a message: which sockets to pull, the first one from the
// root, the next one from that, and the message's own word.
type Place struct {
	Way   [2]Word // of the messages that carry the sockets
	Depth int     // how many there are on the way: 0 to 2
	Word  Word    // of the message
}

// Place returns where message id of n files lies. It is pure: the number of a
// message says it all.
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

// Word is the second half of a payload, and says of the message:
//
//	63      56 55      48 47              32 31                            0
//	│  kind   │  files   │      queue      │           position            │
//
// kind 1: files, 2: a socket, 3: the header; files: how many it carries; queue:
// 0 for the root, then the shards and branches in the order in which they are
// made; position: in its queue, from 0. The header has the layout in place of
// the queue and a magic number in place of its position, which is 0.
type Word uint64

// Kind says what a message carries.
type Kind uint8

// The kinds of messages.
const (
	Files  Kind = 1
	Socket Kind = 2
	Header Kind = 3
)

// magic stands in the header: "fds1" in the bytes of a little-endian machine.
const magic = 0x31736466

// NewWord puts a word together. files is 0 to [MaxGroup], queue has 16 bits.
func NewWord(kind Kind, files int, queue, position uint32) Word {
	return Word(kind)<<56 | Word(uint8(files))<<48 | Word(queue&0xffff)<<32 | Word(position)
}

// HeaderWord is the word of a root's first message. It carries the catalog, if
// there is one.
func (l Layout) HeaderWord(files int) Word { return NewWord(Header, files, uint32(l), magic) }

// ParseHeader gives the layout that a header names, false if w is not the word of
// a header. The layout may be one that is not [Layout.Known].
func (w Word) ParseHeader() (Layout, bool) {
	return Layout(w >> 32), w.Kind() == Header && uint32(w) == magic
}

// Kind returns what the message carries.
func (w Word) Kind() Kind { return Kind(w >> 56) }

// Offset returns what SO_PEEK_OFF must be set to before a peek at this message,
// in bytes from the head of its queue.
func (w Word) Offset() int32 { return int32(w.Position()) * PayloadSize }

// Position returns the number of the message in its queue, from 0.
func (w Word) Position() uint32 {
	if w.Kind() == Header {
		return 0
	}
	return uint32(w)
}

// Queue returns the number of the queue that the message is in: 0 for the root.
func (w Word) Queue() uint32 { return uint32(w>>32) & 0xffff }

// Files returns how many files the message carries, 0 to [MaxGroup].
func (w Word) Files() int { return int(w >> 48 & 0xff) }

// Where is the word without the number of files.
func (w Word) Where() Word { return w &^ (0xff << 48) }
