package images

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

const mappingNode = yaml.MappingNode

// kindDecoder gives a kind the values of its entry.
type kindDecoder struct {
	v   node
	got fields
}

var _ kind.Decoder = (*kindDecoder)(nil)

// Text implements [kind.Decoder].
func (d *kindDecoder) Text(key string) (tasktree.Text, bool) {
	v, ok := d.got.get(key)
	if !ok {
		return tasktree.Text{}, false
	}
	return v.text("a value")
}

// Content implements [kind.Decoder].
func (d *kindDecoder) Content(key string) (tasktree.Text, bool) {
	v, ok := d.got.get(key)
	if !ok {
		return tasktree.Text{}, false
	}
	return v.content(`the content ("" for none)`)
}

// Int implements [kind.Decoder].
func (d *kindDecoder) Int(key string, lo, hi int64) (tasktree.Number, bool) {
	v, ok := d.got.get(key)
	if !ok {
		return tasktree.Number{}, false
	}
	return v.integer("a number", lo, hi)
}

// Mode implements [kind.Decoder].
func (d *kindDecoder) Mode(key string) (tasktree.Number, bool) {
	v, ok := d.got.get(key)
	if !ok {
		return tasktree.Number{}, false
	}
	return v.mode()
}

// Flags implements [kind.Decoder].
func (d *kindDecoder) Flags(key string, table []kind.Flag) (kind.Flags, bool) {
	v, ok := d.got.get(key)
	if !ok {
		return kind.Flags{}, false
	}
	return v.flags(table)
}

// FlagsByEnd implements [kind.Decoder].
func (d *kindDecoder) FlagsByEnd(key string, ends []string, table []kind.Flag) ([]kind.Flags, bool) {
	v, ok := d.got.get(key)
	if !ok {
		return nil, false
	}
	got := v.known(fmt.Sprintf("a mapping from ends (%s) to lists of flags", strings.Join(ends, ", ")), ends, nil)
	if got == nil {
		return nil, false
	}
	all := make([]kind.Flags, len(ends))
	for i, end := range ends {
		all[i].Pos = v.pos()
		if list, ok := got.get(end); ok {
			all[i], _ = list.flags(table)
		}
	}
	return all, true
}

// flags decodes a list of names.
func (v node) flags(table []kind.Flag) (kind.Flags, bool) {
	if v.n.Kind != yaml.SequenceNode {
		v.expected(fmt.Sprintf("a list of flags, such as [%s]", table[0].Name))
		return kind.Flags{}, false
	}
	all := kind.Flags{Pos: v.pos()}
	for _, item := range v.items("a list of flags") {
		t, ok := item.text("a flag")
		if !ok {
			continue
		}
		f, ok := flagNamed(t.Value, table)
		switch {
		case !ok:
			item.bad("unknown flag %q%s", abbreviate(t.Value), v.d.didYouMean(t.Value, flagNames(table)))
		case f.Refuse != "":
			item.bad("%s is refused: %s", f.Name, f.Refuse)
		case all.Has(f.Name):
			item.bad("%s is given twice", f.Name)
		default:
			all.Bits |= f.Bits
			all.Items = append(all.Items, kind.FlagItem{Flag: f, Pos: t.Pos})
		}
	}
	return all, true
}

func flagNamed(name string, table []kind.Flag) (kind.Flag, bool) {
	for _, f := range table {
		if f.Name == name {
			return f, true
		}
	}
	return kind.Flag{}, false
}

func flagNames(table []kind.Flag) []string {
	names := make([]string, len(table))
	for i, f := range table {
		names[i] = f.Name
	}
	return names
}
