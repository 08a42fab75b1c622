package drawn

import (
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// plenty is more than any property draws, in bytes.
const plenty = 128 << 10

// Fuzz makes a fuzz target of a property. rapid skips an input that is too short for what
// the property draws, and a fuzzer's inputs nearly always are. Here an input determines the
// first draws, and a hash of it the others. A case that is still skipped has failed.
func Fuzz(property func(*rapid.T)) func(*testing.T, []byte) {
	fuzz := rapid.MakeFuzz(property)
	return func(t *testing.T, input []byte) {
		t.Helper()
		rest := make([]byte, plenty)
		_, _ = rand.NewChaCha8(sha256.Sum256(input)).Read(rest) // never fails
		defer func() {
			if t.Skipped() {
				t.Error("the property draws more than plenty, or discards its draws")
			}
		}()
		fuzz(t, slices.Concat(input, rest))
	}
}
