package schema

import (
	"maps"
	"math"
	"regexp"
	"slices"
)

// JSONSchema returns the JSON Schema (draft 2020-12) of data, a value for package
// encoding/json. The data must be zero and must not be used afterwards.
//
// The schema accepts more than a decoder does, because JSON has other scalars than a
// description: a string may be any scalar, as in `run: [sleep, 10]`.
func JSONSchema(data Fielder, id, title string) map[string]any {
	o := &object{defs: map[string]any{}}
	schema := o.mapping(data)
	schema["$schema"], schema["title"] = "https://json-schema.org/draft/2020-12/schema", title
	if id != "" {
		schema["$id"] = id
	}
	if len(o.defs) > 0 {
		schema["$defs"] = o.defs
	}
	return schema
}

// object describes one value: as a mapping if keys were bound, or as the value that was
// bound to the key "".
type object struct {
	defs     map[string]any // shared by all
	value    map[string]any // of the key ""; nil: a mapping
	keys     map[string]any
	required []string
	short    string
	variants []any
}

var _ Fields = (*object)(nil)

func (o *object) mapping(data Fielder) map[string]any { return o.inner(data.Fields) }

// inner describes another value.
func (o *object) inner(fields func(Fields)) map[string]any {
	in := &object{defs: o.defs, keys: map[string]any{}}
	fields(in)
	return in.schema()
}

func (o *object) schema() map[string]any {
	if o.value != nil {
		return o.value
	}
	if o.variants != nil {
		return map[string]any{"type": "object", "oneOf": o.variants}
	}
	s := map[string]any{"type": "object", "properties": o.keys, "additionalProperties": false}
	if len(o.required) > 0 {
		s["required"] = o.required
	}
	if o.short != "" {
		return map[string]any{"oneOf": []any{o.keys[o.short], s}}
	}
	return s
}

// pageLink matches a link, which has no target outside of the reference page.
var pageLink = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

func (o *object) add(key string, h Help, s map[string]any) {
	s = maps.Clone(s)
	if h.Doc != "" {
		s["description"] = pageLink.ReplaceAllString(h.Doc, "$1")
	}
	if key == "" {
		o.value = s
		return
	}
	o.keys[key] = s
	if h.Required {
		o.required = append(o.required, key)
	}
}

// scalars are the types that parsers give to the source text of a scalar.
var scalars = []any{"string", "number", "boolean"}

func (o *object) Text(key string, _ *Text, h Help) {
	o.add(key, h, map[string]any{"type": []any{"string", "number", "boolean", "null"}, "minLength": 1})
}

func (o *object) Arg(key string, _ *Text, h Help) {
	o.add(key, h, map[string]any{"type": append(slices.Clone(scalars), "null")})
}

func (o *object) Bytes(key string, _ *Text, h Help) { o.Arg(key, nil, h) }

func (o *object) Word(key string, _ *Text, words []string, h Help) {
	o.add(key, h, map[string]any{"enum": words})
}

func (o *object) Ref(key string, _ *Text, _ Referent, h Help) { o.Text(key, nil, h) }

func (o *object) Int(key string, _ *Number, i Int) {
	s := map[string]any{"type": "integer", "minimum": i.Lo}
	if i.Hi < math.MaxInt64 {
		s["maximum"] = i.Hi
	}
	if i.Sized {
		s = map[string]any{"oneOf": []any{s, map[string]any{"type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB|TiB)$"}}}
	}
	o.add(key, i.Help, s)
}

func (o *object) Uint(key string, _ *Unsigned, u Uint) {
	s := map[string]any{"type": "integer", "minimum": 0}
	if u.Hi < math.MaxInt64 {
		s["maximum"] = u.Hi
	}
	o.add(key, u.Help, s)
}

func (o *object) Either(key string, e Either) {
	forms := []any{o.inner(e.Scalar), o.inner(e.Whole)}
	if e.List != nil {
		forms = append(forms, o.inner(e.List))
	}
	o.add(key, e.Help, map[string]any{"oneOf": forms})
}

func (o *object) Ends(key string, e Ends) {
	byEnd := o.inner(func(f Fields) {
		for end, name := range e.Others {
			e.Bind(f, name, min(end, 1))
		}
	})
	o.add(key, e.Help, map[string]any{"anyOf": []any{o.inner(func(f Fields) { e.Bind(f, "", 0) }), byEnd}})
}

func (o *object) Mode(key string, _ *Number, h Help) {
	o.add(key, h, map[string]any{"oneOf": []any{
		map[string]any{"type": "integer", "minimum": 0}, // 0640 is 640 for some parsers and 416 for others
		map[string]any{"type": "string", "pattern": "^(0o)?[0-7]+$"},
	}})
}

func (o *object) Bool(key string, _ *Bool, h Help) { o.add(key, h, map[string]any{"type": "boolean"}) }

func (o *object) Time(key string, _ *Time, h Help) {
	o.add(key, h, map[string]any{"type": "string", "pattern": `^([0-9.]+(h|m|s|ms|us|µs|ns))+$`})
}

func (o *object) Flags(key string, _ *Flags, table []Flag, h Help) {
	var names []string
	for _, f := range table {
		if f.Refuse == "" {
			names = append(names, f.Name)
		}
	}
	o.add(key, h, map[string]any{"type": "array", "uniqueItems": true, "items": map[string]any{"enum": names}})
}

func (o *object) List(key string, l List, h Help) {
	items := o.named(h.Def, func(f Fields) {
		l.Add()
		l.Item(l.Len()-1, f)
	})
	s := map[string]any{"type": "array", "items": items}
	if h.Empty != "" {
		s["minItems"] = 1
	}
	if h.Most > 0 {
		s["maxItems"] = h.Most
	}
	if h.Word != "" {
		s = map[string]any{"oneOf": []any{map[string]any{"const": h.Word}, s}}
	}
	o.add(key, h, s)
}

func (o *object) Map(key string, m Map, h Help) {
	items := o.inner(func(f Fields) {
		m.Add(Text{Value: "0", Set: true}, func(string, ...any) {})
		m.Item(m.Len()-1, f)
	})
	s := map[string]any{"type": "object", "additionalProperties": items}
	if h.Empty != "" {
		s["minProperties"] = 1
	}
	if pattern := m.Keys(); pattern != "" {
		s["propertyNames"] = map[string]any{"pattern": pattern}
	}
	o.add(key, h, s)
}

// named describes a value with a name, once, and returns a reference to it.
func (o *object) named(name string, fields func(Fields)) map[string]any {
	if name == "" {
		return o.inner(fields)
	}
	if _, ok := o.defs[name]; !ok {
		o.defs[name] = nil // in progress: the value may contain itself
		o.defs[name] = o.inner(fields)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (o *object) Group(key string, _ *Pos, body func(Fields), h Help) { o.add(key, h, o.inner(body)) }

func (o *object) Short(key string, _ bool, _ Help) { o.short = key }

func (o *object) Choice(key string, c Choice, h Help) {
	for _, name := range c.Names() {
		data, _ := c.Choose(name)
		in := &object{defs: o.defs, keys: map[string]any{}}
		in.add(key, Help{Doc: h.Doc, Required: true}, map[string]any{"const": name})
		data.Fields(in)
		o.variants = append(o.variants, in.schema())
	}
}

func (*object) Place(string, *Pos, *Pos) {}
