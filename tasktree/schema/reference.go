package schema

import (
	"slices"
	"strings"
)

// Row is a row of a reference page: one key.
type Row struct {
	Key, Doc, Default string
}

// Rows lists the keys of data, without those of nested mappings. The key that chooses the
// other keys is not included.
func Rows(data Fielder) []Row {
	var rows []Row
	data.Fields((*page)(&rows))
	return rows
}

// Markdown writes rows as a table. It leaves out an empty column of defaults.
func Markdown(rows []Row) string {
	columns := []string{"key", "value", "default"}
	if !slices.ContainsFunc(rows, func(r Row) bool { return r.Default != "" }) {
		columns = columns[:2]
	}
	var b strings.Builder
	line := func(cells ...string) {
		for _, c := range cells[:len(columns)] {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(columns...)
	b.WriteString(strings.Repeat("|---", len(columns)) + "|\n")
	for _, r := range rows {
		line("`"+r.Key+"`", r.Doc, r.Default)
	}
	return b.String()
}

// page is a visitor that collects rows.
type page []Row

var _ Fields = (*page)(nil)

func (p *page) add(key string, h Help) {
	if key == "" {
		return
	}
	row := Row{Key: key, Doc: h.Doc, Default: h.Default}
	if h.Required {
		row.Default = "required"
	}
	*p = append(*p, row)
}

func (p *page) Text(key string, _ *Text, h Help)                 { p.add(key, h) }
func (p *page) Arg(key string, _ *Text, h Help)                  { p.add(key, h) }
func (p *page) Bytes(key string, _ *Text, h Help)                { p.add(key, h) }
func (p *page) Word(key string, _ *Text, _ []string, h Help)     { p.add(key, h) }
func (p *page) Ref(key string, _ *Text, _ Referent, h Help)      { p.add(key, h) }
func (p *page) Int(key string, _ *Number, i Int)                 { p.add(key, i.Help) }
func (p *page) Uint(key string, _ *Unsigned, u Uint)             { p.add(key, u.Help) }
func (p *page) Either(key string, e Either)                      { p.add(key, e.Help) }
func (p *page) Ends(key string, e Ends)                          { p.add(key, e.Help) }
func (p *page) Mode(key string, _ *Number, h Help)               { p.add(key, h) }
func (p *page) Bool(key string, _ *Bool, h Help)                 { p.add(key, h) }
func (p *page) Time(key string, _ *Time, h Help)                 { p.add(key, h) }
func (p *page) Flags(key string, _ *Flags, _ []Flag, h Help)     { p.add(key, h) }
func (p *page) List(key string, _ List, h Help)                  { p.add(key, h) }
func (p *page) Map(key string, _ Map, h Help)                    { p.add(key, h) }
func (p *page) Group(key string, _ *Pos, _ func(Fields), h Help) { p.add(key, h) }
func (*page) Short(string, bool, Help)                           {}
func (*page) Place(string, *Pos, *Pos)                           {}

func (p *page) Choice(_ string, c Choice, _ Help) {
	if _, data := c.Chosen(); data != nil {
		data.Fields(p)
	}
}
