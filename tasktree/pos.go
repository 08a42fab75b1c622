package tasktree

import "regrow/tasktree/schema"

// Pos is a place in a description, see [schema.Pos].
type Pos = schema.Pos

// Text is a text of a description with its place, see [schema.Value].
type Text = schema.Text

// Number is an integer of a description with its place, see [schema.Value].
type Number = schema.Number
