// Package images decodes descriptions of process trees into the model of package tasktree,
// and encodes them. It supports one format: YAML, version 1.
//
// yaml.v3 only parses. This package decodes each value itself from the source text of
// its node, because the library's conversions are too lenient for a description, which
// must have one meaning: they turn 1.5 into 1, yes into true and null into 0. If
// yaml.v3 refuses a text, package syntax finds the position and what to write instead
// (decision 24).
//
// The rules for scalars:
//
//   - Strings (names, paths, arguments, variables) are the source text of any scalar,
//     quoted or not: null, on and 1e3 are strings. A missing value and a plain ~ are
//     not. "" is a string where an empty one has a meaning (arguments, values of
//     variables, content). Bytes that are not UTF-8: !!binary.
//   - Numbers are plain decimal digits. Modes are octal, with a leading 0 or 0o or in
//     quotes. Booleans are plain true or false.
//   - Anchors and aliases are allowed. A problem inside the target of an alias has the
//     position of the target; if an alias repeats a name, the message also has the
//     position of the alias. Merge keys, cycles and aliases that expand to too much
//     are refused.
//
// Large descriptions whose entries are lines of their own are parsed in pieces, on all
// processors (decision 8).
//
// A problem has a position, a key path, a message that says what to do, and the line of
// the description. All problems of a description are reported at once.
package images
