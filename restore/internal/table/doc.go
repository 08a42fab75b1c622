// Package table keeps the numbers of one descriptor table: which are taken, by which open
// file, and where the kernel puts the next one. [Numbered] and [ByFile] are its maps, made
// for many small tables.
package table
