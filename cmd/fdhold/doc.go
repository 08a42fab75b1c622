// Command fdhold keeps open files for programs that are not written in Go: the
// store of package fdstore for shells, and a supervisor's socket holder on one
// page.
//
//	fdhold run --listen tcp::8080=web --open log=app.log -- PROGRAM
//	       │
//	       ├── store ──▶ PROGRAM and what it starts
//	       │               fdhold ls                     what there is
//	       │               fdhold get web -- ./server    ./server has it as descriptor 3
//	       └── door ◀───── fdhold put results <file      one more
//
// The store is found by the environment (FDSTORE_ROOT, which fdstore.Inherited
// reads), so it reaches whatever the program starts, as long as descriptors are
// passed on, and nobody else. See docs/fdhold.md.
package main
