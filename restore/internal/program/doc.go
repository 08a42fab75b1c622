// Package program has the form in which a plan reaches the tasks: flat lists of
// ops, and the layout of the memory that they refer to.
//
// The planner writes programs, the model of descriptor tables simulates them,
// the printer shows them, and the executor in every task interprets them. All
// of it is plain data without a Go pointer, at addresses that are fixed when
// the plan is made:
//
//	Base - PrivateGap    - CodeGap   Base
//	│                    │           │
//	▼                    ▼           ▼
//	┌──────────────┐ gap ┌──────┐ gap┌──────┬─────────┬───────────────┬───────────┐
//	│ private page │     │ code │    │ Head │ Records │ data: paths,  │ programs: │
//	│ scratch,stack│     │      │    │      │ 1 a task│ clone_args .. │ ops       │
//	└──────────────┘     └──────┘    └──────┴─────────┴───────────────┴───────────┘
//	MAP_PRIVATE: each task           MAP_SHARED: one for all tasks and for the
//	has a copy of its own            process that runs the restore
//
// The page of code is there if the plan has code for it, which all tasks then keep.
//
// The package is pure and knows nothing of the Go runtime.
package program
