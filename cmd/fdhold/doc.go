// Command fdhold keeps open files for programs that are not written in Go. It is the
// store of package fdstore for shells, and can keep the sockets of a supervised server.
//
//	fdhold run --listen tcp::8080=web --open log=app.log -- PROGRAM
//	       │
//	       ├── store ──▶ PROGRAM and its descendants
//	       │               fdhold ls                     lists the store
//	       │               fdhold get web -- ./server    ./server has web as descriptor 3
//	       └── door ◀───── fdhold put results <file      adds a file
//
// The environment names the store (FDSTORE_ROOT, which fdstore.Inherited reads). All
// descendants of the program can use it, as long as descriptors are passed on, and no
// other process can. See docs/fdhold.md.
package main
