// Package prepare carries out the ops of a plan that belong to the runner: it makes the
// open files that tasks share, some of them by way of benches (processes that are gone
// before the first clone), fills the store, looks programs up, and at the commit point
// closes what was kept until then and cuts files. What it has made is undone if the
// restore fails.
//
//	Prepare ─▶ Seal ─▶ the tree is made, and ready ─▶ CheckCommit ─▶ Commit
//	   └────────┴── Undo.GiveUp ◀─────┴───────────────────┴── until here
package prepare
