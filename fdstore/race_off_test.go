//go:build linux && !race

package fdstore

// raceEnabled says that the race detector's own allocations are counted, too.
const raceEnabled = false
