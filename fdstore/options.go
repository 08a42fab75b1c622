package fdstore

import (
	"syscall"

	"regrow/fdstore/wire"
)

// Options configure [New]. The zero value is suitable for most stores.
type Options struct {
	// BufferSize is the send buffer of the root in bytes, which limits its queue; a
	// message uses 768 of them (Linux 6.18, 64 bit). 0 or less means as much as
	// possible. The kernel allows no less than 4608 and, without CAP_NET_ADMIN, no
	// more than twice net.core.wmem_max.
	BufferSize int

	// MaxMessages limits how many messages can be added; beyond it an add fails with
	// [ErrFull]. Each message takes 5 KiB of kernel memory, with 1 file or with 253,
	// most of which is charged to the memory cgroup of the process that adds. 0 means
	// as many as fit into half of the lowest memory limit of its cgroups, read when
	// message 1024 is added; without such a limit, and with a value below 0, the
	// number is not limited.
	MaxMessages int

	// Layout decides in which sockets messages are: 0 means [Nested]. [Flat] is for
	// programs that pull without this package and do not support nested sockets.
	Layout Layout

	// WithoutCatalog leaves out the memfd with the names and the list of messages, for
	// programs that only get by ID.
	WithoutCatalog bool
}

// File is a value with a descriptor: an [*os.File], a connection or listener of
// package net, a [*Store]. The descriptor is used by SyscallConn and not by a method
// Fd, which sets an open file that Go made non-blocking (os.Pipe, sockets) to blocking
// for all processes. So a file that is non-blocking stays non-blocking.
type File = syscall.Conn

// MaxGroup is how many files one message can carry, see [wire.MaxGroup].
const MaxGroup = wire.MaxGroup

// MaxName is the length of the longest name, in bytes.
const MaxName = 255

// ID is the number of a message in its store, counted from 0. It is valid in every
// process that has the store, as long as the store exists.
type ID = wire.ID

// Layout determines in which sockets the messages of a store are. The header contains
// it, so every process that opens the store knows it.
type Layout = wire.Layout

// The layouts, see [wire.Nested] and [wire.Flat].
const (
	Nested = wire.Nested
	Flat   = wire.Flat
)

// Entry is one message of a store.
type Entry struct {
	ID    ID
	Name  string // "" if it was added without one
	Files int    // 1 to MaxGroup
}

// EnvRoot is the environment variable that names the descriptor of an inherited store's
// root, and the number of that store:
//
//	FDSTORE_ROOT=3:00d1ce5f2b77a19c       decimal, a colon, Store.Number in 16 hex digits
//
// A program may inherit the variable but not the descriptor. The number shows whether
// descriptor 3 is the store or something else.
const EnvRoot = "FDSTORE_ROOT"
