// Package syntax says what is wrong with a text that is not YAML: where, and what to
// write instead.
//
// yaml.v3 decides what is YAML. Where it refuses a text it names a line at most,
// often the one where a list or a mapping begins. So yaml.v4, a descendant of it
// that knows the column too, parses the text again, and a table turns its messages
// into cures (decision 24). A text that only yaml.v3 refuses is reported near the
// place up to which it has read.
package syntax
