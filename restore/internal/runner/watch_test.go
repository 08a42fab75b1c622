package runner

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestStillness holds when a restore is taken to stand still: not while anything
// moves, then after a while, and again after ever longer ones.
func TestStillness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stillness
		var at []int // in ms
		begun := time.Now()
		for ms := 0; ms < 4000; ms += 20 {
			state := [3]int{10, 5, 7}
			if ms < 1000 {
				state[0] = ms // something moves
			}
			if s.stands(state) {
				at = append(at, int(time.Since(begun).Milliseconds()))
			}
			time.Sleep(20 * time.Millisecond)
		}
		if len(at) < 4 || len(at) > 7 || at[0] < 1060 || at[0] > 1080 {
			t.Errorf("stands still at %v", at)
		}
		for i := 2; i < len(at); i++ {
			if at[i]-at[i-1] < at[i-1]-at[i-2] {
				t.Errorf("looks more and more often: %v", at)
			}
		}
	})
}
