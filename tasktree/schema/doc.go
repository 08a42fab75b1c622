// Package schema binds the keys of a description to the fields of plain data,
// once. A type says so in one method:
//
//	func (p *Pipe) Fields(f schema.Fields) {
//		f.Int("capacity", &p.Capacity, schema.Int{Lo: 1, Hi: 1 << 31, Unit: "bytes"})
//		f.Bytes("content", &p.Content, schema.Help{Doc: "bytes that wait in the pipe"})
//	}
//
// Everything that has to do with keys is a visitor of that method: package
// images decodes and encodes, and this package compares ([Compare]), finds the
// names that a value refers to ([References]), writes the reference page
// ([Tables]) and the JSON Schema ([JSONSchema]).
//
// The package is pure and imports nothing of this module.
package schema
