package images

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// compiled returns the schema as a validator that shares no code with this project.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plainValue returns a YAML value as an editor passes it to a schema: keys are strings.
func plainValue(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return plainValue(n.Content[0])
	case yaml.AliasNode:
		return plainValue(n.Alias)
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, plainValue(c))
		}
		return list
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainValue(n.Content[i+1])
		}
		return m
	default:
		var v any
		if n.Style&yaml.TaggedStyle != 0 || n.Decode(&v) != nil {
			return n.Value
		}
		return v
	}
}

// TestSchemaAccepts checks that every example and scenario is valid by the schema.
func TestSchemaAccepts(t *testing.T) {
	s := compiled(t)
	checked := 0
	for _, pattern := range []string{"../examples/*.yaml", "../test/scenarios/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if _, err := Load(path); err != nil {
				continue // an invalid one
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var doc yaml.Node
			if err := yaml.Unmarshal(text, &doc); err != nil {
				t.Fatal(err)
			}
			checked++
			if err := s.Validate(plainValue(&doc)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d descriptions were checked", checked)
	}
}

// TestSchemaRefuses checks that an editor with the schema shows many problems: it counts
// the bad descriptions that the schema refuses, of those that are YAML.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var refused, taken []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if yaml.Unmarshal(text, &doc) != nil || doc.Kind != yaml.DocumentNode {
			continue
		}
		if !finite(&doc, map[*yaml.Node]bool{}) {
			continue
		}
		if s.Validate(plainValue(&doc)) != nil {
			refused = append(refused, name(path))
		} else {
			taken = append(taken, name(path))
		}
	}
	t.Logf("%d are refused; %d are not: %v", len(refused), len(taken), taken)
	if len(refused) < 30 {
		t.Errorf("the schema refuses only %d bad descriptions: %v", len(refused), refused)
	}
}

func name(path string) string {
	base := filepath.Base(path)
	return base[:len(base)-len(filepath.Ext(base))]
}

// finite reports whether no alias is inside its own anchor, and aliases do not expand to too
// much.
func finite(n *yaml.Node, open map[*yaml.Node]bool) bool {
	d := newDecoder("", "")
	return d.affordable(n, open, 0, false)
}
