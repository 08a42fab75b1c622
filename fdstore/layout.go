package fdstore

import (
	"encoding/binary"
	"math"
)

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
	shardSize   = 64 // messages of a shard
	rootShards  = 32 // shards of the root
	branchSize  = 64 // shards of a branch
	maxQueues   = math.MaxUint16
	maxBranches = (maxQueues - rootShards) / (1 + branchSize)
)

// limit returns how many messages fit: in the root SO_PEEK_OFF, a C int, must
// reach the last; of nested queues the number has 16 bits.
func (l Layout) limit() int {
	if l == Flat {
		return math.MaxInt32 / PayloadSize // the header takes one
	}
	return int(l) + (rootShards+maxBranches*branchSize)*shardSize
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
		return Place{Word: newWord(kindFiles, n, 0, uint32(id)+1)}
	}
	rest := uint32(id) - uint32(l)
	shard, position := rest/shardSize, rest%shardSize
	root := 1 + uint32(l)
	if shard < rootShards {
		return Place{
			Depth: 1, Way: [2]Word{newWord(kindSocket, 1, 0, root+shard)},
			Word: newWord(kindFiles, n, 1+shard, position),
		}
	}
	branch, shard := (shard-rootShards)/branchSize, (shard-rootShards)%branchSize
	queue := 1 + rootShards + branch*(1+branchSize) // the branch; its shards follow
	return Place{
		Depth: 2, Way: [2]Word{newWord(kindSocket, 1, 0, root+rootShards+branch), newWord(kindSocket, 1, queue, shard)},
		Word: newWord(kindFiles, n, queue+1+shard, position),
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

const (
	kindFiles  = 1
	kindSocket = 2
	kindHeader = 3

	magic = 0x31736466 // "fds1" in the bytes of a little-endian machine
)

func newWord(kind uint8, files int, queue, position uint32) Word {
	return Word(kind)<<56 | Word(uint8(files))<<48 | Word(queue&0xffff)<<32 | Word(position)
}

// header is the first message of a root. It carries the catalog, if there is
// one.
func (l Layout) header(files int) Word { return newWord(kindHeader, files, uint32(l), magic) }

// Offset returns what SO_PEEK_OFF must be set to before a peek at this message,
// in bytes from the head of its queue.
func (w Word) Offset() int32 { return int32(w.Position()) * PayloadSize }

// Position returns the number of the message in its queue, from 0.
func (w Word) Position() uint32 {
	if w>>56 == kindHeader {
		return 0
	}
	return uint32(w)
}

// Files returns how many files the message carries, 0 to [MaxGroup].
func (w Word) Files() int { return int(w >> 48 & 0xff) }

// where is the word without the number of files.
func (w Word) where() Word { return w &^ (0xff << 48) }

// payload is the data of a message.
type payload struct {
	number uint64
	word   Word
}

func (p payload) append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, p.number)
	return binary.NativeEndian.AppendUint64(b, uint64(p.word))
}

// parsePayload reports false for data that no store of this kind has sent.
func parsePayload(b []byte) (payload, bool) {
	if len(b) != PayloadSize {
		return payload{}, false
	}
	return payload{binary.NativeEndian.Uint64(b), Word(binary.NativeEndian.Uint64(b[8:]))}, true
}
