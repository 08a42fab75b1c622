// Package table models the numbers of one descriptor table: which are taken, by which
// open file, and which number the kernel assigns next. [Numbered] and [ByFile] are maps
// made for many small tables.
package table
