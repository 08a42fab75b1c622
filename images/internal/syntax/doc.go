// Package syntax finds the error in a text that is not YAML: its position, and what to
// write instead.
//
// yaml.v3 decides what is YAML. If it refuses a text, it names only a line, often the
// one where a list or a mapping begins. So its descendant yaml.v4, which also reports
// columns, parses the text again, and a table maps its messages to remedies (decision 24).
// If only yaml.v3 refuses the text, the error is reported near the end of what it has
// read.
package syntax
