package images

import (
	"encoding/json"
	"fmt"

	"regrow/tasktree/schema"
)

// SchemaID is the identifier of the JSON Schema.
const SchemaID = "urn:regrow:tree:1"

// JSONSchema returns the JSON Schema (draft 2020-12) of a description, indented, for
// editors and for programs that write descriptions. It accepts more than [Decode] does,
// because a schema cannot express rules about several values, such as that a descriptor
// refers to an open file.
func JSONSchema() []byte {
	text, err := json.MarshalIndent(schema.JSONSchema(&document{}, SchemaID, "A process tree for regrow"), "", "  ")
	if err != nil {
		panic(fmt.Sprintf("images: the schema is not JSON: %v", err)) // impossible: it has only maps, lists, strings and numbers
	}
	return append(text, '\n')
}
