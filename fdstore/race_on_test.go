//go:build linux && race

package fdstore

// raceEnabled reports whether the race detector is on, which allocates, too.
const raceEnabled = true
