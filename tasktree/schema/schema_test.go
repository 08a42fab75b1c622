package schema_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree/schema"
)

// target and box bind values of all forms.
type target struct {
	Task schema.Text
	FD   schema.Number
}

func (t *target) Fields(f schema.Fields) {
	f.Ref("task", &t.Task, schema.ToTask, schema.Help{Required: true})
	f.Int("fd", &t.FD, schema.Int{Hi: 9})
}

type box struct {
	Name    schema.Text
	Content schema.Text
	Room    schema.Number
	Mode    schema.Number
	Shut    schema.Bool
	After   schema.Time
	Paint   schema.Text
	Flags   schema.Flags
	Targets []target
	Words   []schema.Text
	Lid     struct{ At schema.Pos }
	Inner   schema.Text
	Count   schema.Unsigned
	Owner   []schema.Number
}

var boxFlags = []schema.Flag{{Name: "ONE", Bits: 1}, {Name: "THREE", Bits: 3}, {Name: "NOT", Refuse: "never"}}

func (b *box) Fields(f schema.Fields) {
	f.Text("name", &b.Name, schema.Help{Required: true, Doc: "a | name, see [there](#there)"})
	f.Bytes("content", &b.Content, schema.Help{Compare: schema.Ignore})
	f.Int("room", &b.Room, schema.Int{Lo: 1, Hi: 100, Help: schema.Help{Compare: schema.AtLeast, Default: "1"}})
	f.Mode("mode", &b.Mode, schema.Help{})
	f.Bool("shut", &b.Shut, schema.Help{})
	f.Time("after", &b.After, schema.Help{})
	f.Word("paint", &b.Paint, []string{"red", "blue"}, schema.Help{})
	f.Flags("flags", &b.Flags, boxFlags, schema.Help{})
	f.List("targets", schema.Of(&b.Targets), schema.Help{})
	f.List("words", schema.Texts(&b.Words), schema.Help{Most: 2, Empty: "say one"})
	f.Group("lid", &b.Lid.At, func(f schema.Fields) { f.Arg("inner", &b.Inner, schema.Help{}) }, schema.Help{})
	f.Uint("count", &b.Count, schema.Uint{Hi: math.MaxUint64})
	f.Either("owner", schema.Either{
		Scalar: func(f schema.Fields) { owner{&b.Owner}.first(f) }, Whole: func(f schema.Fields) { f.List("", owner{&b.Owner}, schema.Help{Most: 2}) },
		Alone: len(b.Owner) == 1, Help: schema.Help{Doc: "one or two"},
	})
}

// owner is a list of numbers, for which a single number may stand.
type owner struct{ of *[]schema.Number }

func (o owner) Len() int                    { return len(*o.of) }
func (o owner) Add()                        { *o.of = append(*o.of, schema.Number{}) }
func (o owner) Item(i int, f schema.Fields) { f.Int("", &(*o.of)[i], schema.Int{Hi: 99}) }
func (o owner) first(f schema.Fields) {
	var n schema.Number
	if f.Int("", &n, schema.Int{Hi: 99}); n.Said() {
		*o.of = []schema.Number{n}
	}
}

func text(s string) schema.Text { return schema.Text{Value: s} }
func number(n int64) schema.Number {
	return schema.Number{Value: n, Pos: schema.Pos{Line: int(n), Col: 1}}
}

// TestCompare checks which differences are found.
func TestCompare(t *testing.T) {
	full := func() *box {
		return &box{
			Name: text("n"), Content: text("c"), Room: number(10), Count: schema.Unsigned{Value: math.MaxUint64}, Owner: []schema.Number{number(7), number(8)}, Mode: number(0o600), Shut: schema.Bool{Value: true},
			Flags: schema.Flags{Bits: 3}, Targets: []target{{Task: text("a"), FD: number(4)}}, Words: []schema.Text{text("x"), text("y")}, Inner: text("i"),
		}
	}
	for _, c := range []struct {
		name   string
		change func(first, then *box)
		want   []schema.Difference
	}{
		{"equal", func(_, _ *box) {}, nil},
		{"not said", func(first, _ *box) { first.Name, first.Mode, first.Targets = text(""), schema.Number{}, []target{{}} }, nil},
		{"text", func(_, then *box) { then.Name = text("m") }, []schema.Difference{{Path: "name", First: `"n"`, Then: `"m"`}}},
		{"a large number", func(_, then *box) { then.Count.Value-- }, []schema.Difference{{Path: "count", First: "18446744073709551615", Then: "18446744073709551614"}}},
		{"the whole form", func(_, then *box) { then.Owner[1] = number(9) }, []schema.Difference{{Path: "owner[1]", Pos: schema.Pos{Line: 8, Col: 1}, First: "8", Then: "9"}}},
		{"ignored", func(_, then *box) { then.Content = text("") }, nil},
		{"rounded up", func(_, then *box) { then.Room = number(16) }, nil},
		{"less", func(_, then *box) { then.Room = number(8) }, []schema.Difference{{Path: "room", Pos: schema.Pos{Line: 10, Col: 1}, First: "10", Then: "8"}}},
		{"listed flags", func(first, _ *box) { first.Flags.Items = []schema.FlagItem{{Flag: boxFlags[1]}, {Flag: boxFlags[0]}} }, nil},
		{"other flags", func(_, then *box) { then.Flags.Bits = 5 }, []schema.Difference{{Path: "flags", First: "[THREE]", Then: "[ONE, 0x4]"}}},
		{"entry differs", func(_, then *box) { then.Targets[0].FD = number(5) }, []schema.Difference{{Path: "targets[0].fd", Pos: schema.Pos{Line: 4, Col: 1}, First: "4", Then: "5"}}},
		{"entry is missing", func(_, then *box) { then.Words = then.Words[:1] }, []schema.Difference{{Path: "words[1]", First: `"y"`}}},
		{"extra entry", func(first, _ *box) { first.Words = first.Words[:1] }, []schema.Difference{{Path: "words[1]", Then: `"y"`}}},
		{"not read", func(_, then *box) { then.Name, then.Flags = text(""), schema.Flags{} }, nil},
		{"no flags", func(_, then *box) { then.Flags = schema.Flags{Set: true} }, []schema.Difference{{Path: "flags", First: "[THREE]", Then: "[]"}}},
		{"first has no flags", func(first, _ *box) { first.Flags = schema.Flags{Set: true} }, []schema.Difference{{Path: "flags", First: "[]", Then: "[THREE]"}}},
		{"in a group", func(_, then *box) { then.Inner = text("j") }, []schema.Difference{{Path: "lid.inner", First: `"i"`, Then: `"j"`}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, then := full(), full()
			c.change(first, then)
			if diff := cmp.Diff(c.want, schema.Compare(first, then)); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReferences checks that references are found, and can be changed.
func TestReferences(t *testing.T) {
	b := &box{Targets: []target{{Task: text("a")}, {}, {Task: text("b")}}}
	refs := schema.References(b)
	if len(refs) != 2 || refs[0].Path != "targets[0].task" || refs[1].Path != "targets[2].task" || refs[1].To != schema.ToTask {
		t.Fatalf("references %+v", refs)
	}
	refs[1].Name.Value = "c"
	if b.Targets[2].Task.Value != "c" {
		t.Error("a changed reference did not change the data")
	}
}

// TestMarkdown checks the layout of a table.
func TestMarkdown(t *testing.T) {
	rows := schema.Rows(&box{})
	const want = "| key | value | default |\n|---|---|---|\n| `name` | a \\| name, see [there](#there) | required |\n| `content` |  |  |\n| `room` |  | 1 |\n"
	if diff := cmp.Diff(want, schema.Markdown(rows[:3])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := schema.Markdown(rows[1:2]); got != "| key | value |\n|---|---|\n| `content` |  |\n" {
		t.Errorf("without defaults: %q", got)
	}
	if len(rows) != 13 || len(schema.Keys(&box{})) != 13 {
		t.Errorf("%d rows", len(rows))
	}
}

// TestJSONSchema checks the parts of a schema.
func TestJSONSchema(t *testing.T) {
	text, err := json.Marshal(schema.JSONSchema(&box{}, "", "A box"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	keys := got["properties"].(map[string]any)
	for key, want := range map[string]map[string]any{
		"room":    {"type": "integer", "minimum": 1.0, "maximum": 100.0},
		"shut":    {"type": "boolean"},
		"paint":   {"enum": []any{"red", "blue"}},
		"flags":   {"type": "array", "uniqueItems": true, "items": map[string]any{"enum": []any{"ONE", "THREE"}}},
		"words":   {"type": "array", "minItems": 1.0, "maxItems": 2.0, "items": map[string]any{"type": []any{"string", "number", "boolean", "null"}, "minLength": 1.0}},
		"content": {"type": []any{"string", "number", "boolean", "null"}},
		"count":   {"type": "integer", "minimum": 0.0},
		"owner": {"description": "one or two", "oneOf": []any{
			map[string]any{"type": "integer", "minimum": 0.0, "maximum": 99.0},
			map[string]any{"type": "array", "maxItems": 2.0, "items": map[string]any{"type": "integer", "minimum": 0.0, "maximum": 99.0}},
		}},
	} {
		if diff := cmp.Diff(want, keys[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
	if d := keys["name"].(map[string]any)["description"]; d != "a | name, see there" {
		t.Errorf("description %q", d)
	}
	if diff := cmp.Diff([]any{"name"}, got["required"]); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
}
