package wire

import (
	"encoding/binary"
	"time"
)

const (
	// MaxGroup is how many files one message can carry: SCM_MAX_FD of the
	// kernel's include/net/scm.h, see unix(7).
	MaxGroup = 253

	// PayloadSize is the length of every message's data in bytes: two uint64
	// in native byte order, the store's number and the message's [Word]. One
	// size for all makes the peek offset of any message known.
	PayloadSize = 16

	// MaxTries bounds the tries of one pull. In the worst meeting of processes
	// that was measured, 93 of 100 tries deliver somebody else's files: then 1000
	// in a row fail once in 10^31 pulls.
	MaxTries = 1000

	// EagerTries are made one after the other before a wait of up to MaxWait,
	// at random, so that processes that meet in step part again. The kernel
	// may make 1 ms of any wait.
	EagerTries = 16
	// MaxWait is the longest such wait, see EagerTries.
	MaxWait = 100 * time.Microsecond
)

// Payload is the data of a message.
type Payload struct {
	Number uint64 // of the store
	Word   Word
}

// Append appends the [PayloadSize] bytes of p to b.
func (p Payload) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, p.Number)
	return binary.NativeEndian.AppendUint64(b, uint64(p.Word))
}

// ParsePayload reports false for data that no store of this kind has sent.
func ParsePayload(b []byte) (Payload, bool) {
	if len(b) != PayloadSize {
		return Payload{}, false
	}
	return Payload{binary.NativeEndian.Uint64(b), Word(binary.NativeEndian.Uint64(b[8:]))}, true
}
