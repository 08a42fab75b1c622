// Package images decodes descriptions of process trees into the model of
// package tasktree, and encodes them back. It knows one format, YAML, version 1.
//
// Where yaml.v3 refuses a text, package syntax says where and what to write (decision
// 24).
//
// yaml.v3 only parses; every value is then decoded by rules of this package
// from the source text of its node, because the library's own conversions are
// too lenient for a description that has to mean one thing (1.5 becomes 1, yes
// becomes true, null becomes 0).
//
// The rules for scalars:
//
//   - Text (names, paths, arguments, variables) is the source text of any
//     scalar, quoted or not: null, on and 1e3 are texts. Plain nothing and plain
//     ~ are not; "" is one where an empty text has a meaning (arguments,
//     values of variables, content). Bytes that are not UTF-8: !!binary.
//   - Numbers are plain decimal digits, modes octal with a leading 0 or 0o or in
//     quotes, booleans plain true or false.
//   - Anchors and aliases are allowed. A problem inside an alias's target is
//     shown at the target; of a name that an alias repeats the alias is told,
//     too. Merge keys, cycles and aliases that multiply beyond all reason are
//     refused.
//
// Large descriptions whose entries are lines of their own are parsed in pieces, on
// all processors (decision 8).
//
// A problem has its position, key path, what was found, what is wanted, and the
// line that it is about. All problems of a description are reported at once.
package images
