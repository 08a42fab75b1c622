// Package pidns runs a test in a pid namespace of its own, where it can say which
// number the next process gets: numbers of processes that have ended come again there
// at once, as they do on a host that has run through all of them.
//
// Needs root, or a host that gives its users user namespaces.
package pidns
