package tasktree

import "regrow/tasktree/schema"

// The values of a description, with their places: see package schema.
type (
	Pos    = schema.Pos
	Text   = schema.Text
	Number = schema.Number
)
