package fdstore

import (
	"syscall"

	"regrow/fdstore/wire"
)

// Options configure [New]. The zero value is right for most stores.
type Options struct {
	// BufferSize is the memory that the kernel may use for the root's queue,
	// in bytes; a message takes 768 of them (Linux 6.18, 64 bit). 0 or less
	// asks for as much as there is. The kernel gives no less than 4608 and,
	// without CAP_NET_ADMIN, no more than twice net.core.wmem_max.
	BufferSize int

	// MaxMessages is how many messages can be added: [ErrFull] says so. Each
	// takes 5 KiB of kernel memory, whether it carries 1 file or 253, and most of
	// that counts for the memory cgroup of the process that adds. 0 means half of
	// what the lowest memory limit of its cgroups has room for when message 1024
	// is added, and no bound if there is no limit; less means no bound.
	MaxMessages int

	// Layout is where messages lie: 0 means [Nested]. [Flat] is for those who
	// pull by themselves and do not want to know of shards.
	Layout Layout

	// WithoutCatalog saves the memfd in which the store keeps names and a
	// list of what it holds, for those who pull by number alone.
	WithoutCatalog bool
}

// File is anything that lends its descriptor for a call: an [*os.File], the
// connections and listeners of package net, a [*Store]. It is not read through a
// method Fd, which for files that Go made non-blocking (os.Pipe, sockets) sets the
// open file to blocking, for all who share it: such a file arrives non-blocking as
// it is.
type File = syscall.Conn

// MaxGroup is how many files one message can carry, see [wire.MaxGroup].
const MaxGroup = wire.MaxGroup

// MaxName is the length of the longest name, in bytes.
const MaxName = 255

// ID is the number of a message in its store; the first is 0, the next one 1. It
// is valid in every process that holds the store, as long as the store lives.
type ID = wire.ID

// Layout says where the messages of a store lie. It stands in the header, so
// whoever opens a store knows it.
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

// EnvRoot is the environment variable that tells a program which descriptor is the
// root of the store that it was given, and which store that is:
//
//	FDSTORE_ROOT=3:00d1ce5f2b77a19c       decimal, a colon, Store.Number in 16 hex digits
//
// The number is there because environments travel further than descriptors: a
// program that was not given the store finds something else, or nothing, at 3.
const EnvRoot = "FDSTORE_ROOT"
