// Package recipe has the steps by which kinds of open files and attributes of tasks are
// restored: system calls as plain data, which the planner turns into ops. Calling a
// [Maker] runs nothing.
//
// Files are made in three phases. Each phase ends for all files before the next one
// begins:
//
//	make    the file exists, without content: pipes, sockets with their names, memory files
//	fill    its content and queues, which may refer to any open file
//	shape   its final form: final flags, seals, shut directions, which would prevent filling
//
// If the process that restores has not the right table, user, folder or namespaces for a
// step, a child of it makes the step: see [Bench].
//
// The package imports no other package of this module but schema.
package recipe
