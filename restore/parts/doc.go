// Package parts has the names of what reports, predictions, pictures and errors of package
// restore are made of. A program needs them where it writes such a type down, which most do
// not: a field of a report has its type without being named.
package parts
