// Package runner carries a plan out: it makes the shared files, fills the store, clones the
// root, waits until every task is ready, and releases the tree or ends it.
//
//	prepare ─▶ clone ─▶ gate ─▶ release ─▶ the tree is its owner's
//	   └── undo ◀──┴───────┘ until then
//
// It is handed what it does not know itself, see [Joined].
package runner
