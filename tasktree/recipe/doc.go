// Package recipe has what kinds of open files and attributes of tasks say of how
// something comes to be: system calls as plain data, which the planner turns into
// ops. Calling a [Maker] runs nothing.
//
// A file is made in three phases, each for all files before the next begins:
//
//	make    the file exists, empty: pipes, sockets with their names, memory files
//	fill    what waits in it: contents, queues; they may name any open file
//	shape   what would have been in the way: final flags, seals, shut directions
//
// Steps for which the process that restores has not the right table, user, folder or
// namespaces are made by a child of it: see [Bench].
//
// The package imports nothing of this module but package schema.
package recipe
