// Package trace records the times of a restore, and writes them afterwards: as Chrome
// trace events (JSON) with a lane for the runner and one for each process of the tree,
// and as log entries, one for each pull and install.
//
//	runner ──Step, Stage, Moment──▶ Trace ──┐
//	tasks ──times of ops, in the arena──────┴─▶ Write, LogOps, LogFailed
//
// Tasks cannot log or write. Their part is read from the plan and the arena when they
// have been released, or are gone.
package trace
