// Package schema binds the keys of a description to the fields of plain data. A type
// binds its keys in one method:
//
//	func (p *Pipe) Fields(f schema.Fields) {
//		f.Int("capacity", &p.Capacity, schema.Int{Lo: 1, Hi: 1 << 31, Unit: "bytes"})
//		f.Bytes("content", &p.Content, schema.Help{Doc: "data in the pipe"})
//	}
//
// Everything that depends on keys is a visitor of that method. Package images decodes
// and encodes. This package compares ([Compare]), finds the names of tasks and open
// files ([References]), writes the reference page ([Markdown]) and the JSON Schema
// ([JSONSchema]).
//
// The package is pure and imports no other package of this module.
package schema
