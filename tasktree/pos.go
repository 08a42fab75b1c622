package tasktree

import "regrow/tasktree/schema"

// Pos is a position in a description, see [schema.Pos].
type Pos = schema.Pos

// Text is a string of a description with its position, see [schema.Value].
type Text = schema.Text

// Number is an integer of a description with its position, see [schema.Value].
type Number = schema.Number
