package images

import (
	"encoding/json"
	"fmt"

	"regrow/tasktree/schema"
)

// SchemaID is the identifier of the JSON Schema that [JSONSchema] gives.
const SchemaID = "urn:regrow:tree:1"

// JSONSchema gives the JSON Schema (draft 2020-12) of a description, indented,
// for editors and for programs that write descriptions. It allows more than
// [Decode] does: a rule that looks at several values, such as that a descriptor
// names an open file, has no form in it.
func JSONSchema() []byte {
	text, err := json.MarshalIndent(schema.JSONSchema(&document{}, SchemaID, "A process tree for regrow"), "", "  ")
	if err != nil {
		panic(fmt.Sprintf("images: the schema is no JSON: %v", err)) // maps of texts and numbers only
	}
	return append(text, '\n')
}
