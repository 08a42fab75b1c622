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
	// in native byte order, the store's number and the message's [Word]. All
	// messages have the same size, so the peek offset of each is known.
	PayloadSize = 16

	// MaxTries limits the tries of one pull. In the worst contention that was
	// measured, 93 of 100 tries return the files of another message. Then 1000
	// tries in a row fail once in 10^31 pulls.
	MaxTries = 1000

	// EagerTries is the number of tries before each random wait of up to MaxWait.
	// The wait separates processes that run in step. The kernel may extend any wait
	// to 1 ms.
	EagerTries = 16
	// MaxWait is the longest random wait, see EagerTries.
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

// ParsePayload returns false if b is not the data of a store's message.
func ParsePayload(b []byte) (Payload, bool) {
	if len(b) != PayloadSize {
		return Payload{}, false
	}
	return Payload{binary.NativeEndian.Uint64(b), Word(binary.NativeEndian.Uint64(b[8:]))}, true
}
