package kind

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// Piece is a part of a file's content. Between pieces are holes, which read as zeros.
type Piece struct {
	Offset int64
	Data   tasktree.Text
}

// Pieces is the content of a file.
type Pieces []Piece

// fields binds the key content: a text, or texts by offset.
func (p *Pieces) fields(f schema.Fields, h schema.Help) {
	part := schema.Help{Moves: h.Moves}
	f.Either("content", schema.Either{
		Scalar: func(f schema.Fields) {
			var all, was tasktree.Text
			if len(*p) > 0 {
				all = (*p)[0].Data
			}
			was = all
			if f.Bytes("", &all, part); all != was {
				*p = Pieces{{Data: all}}
			}
		},
		Whole: func(f schema.Fields) {
			f.Map("", (*pieceMap)(p), schema.Help{Want: "the content, or a mapping from offsets to texts", Moves: h.Moves})
		},
		Alone: len(*p) == 1 && (*p)[0].Offset == 0,
		Help:  h,
	})
}

// pieceMap is the mapping from offsets.
type pieceMap Pieces

func (p *pieceMap) Len() int         { return len(*p) }
func (p *pieceMap) Key(i int) string { return strconv.FormatInt((*p)[i].Offset, 10) }
func (*pieceMap) Keys() string       { return `^(0|[1-9][0-9]*)$` }

func (p *pieceMap) Add(key schema.Text, bad func(format string, args ...any)) bool {
	n, err := strconv.ParseInt(key.Value, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != key.Value {
		bad("expected an offset in bytes, found %q", key.Value)
		return false
	}
	*p = append(*p, Piece{Offset: n})
	return true
}

func (p *pieceMap) Item(i int, f schema.Fields) { f.Bytes("", &(*p)[i].Data, schema.Help{Moves: true}) }

func (p Piece) end() int64 { return p.Offset + int64(len(p.Data.Value)) }

// placed gives other pieces, in the one form, the places of those of the description that
// they come from.
func (p Pieces) placed(others Pieces) Pieces {
	all, i := p.sorted(), 0
	for j := range others {
		for i+1 < len(all) && all[i].end() <= others[j].Offset {
			i++
		}
		others[j].Data.Pos = all[i].Data.Pos
	}
	return others
}

// pages counts the pages of a size that the pieces touch.
func (p Pieces) pages(size int64) (n int64) {
	next := int64(0) // the first page that was not yet counted
	for _, a := range p.sorted() {
		first, end := max(a.Offset/size, next), (a.end()-1)/size+1
		if end > first {
			n, next = n+end-first, end
		}
	}
	return n
}

// end is where the last piece ends.
func (p Pieces) end() (end int64) {
	for _, piece := range p {
		end = max(end, piece.end())
	}
	return end
}

// sorted gives the pieces that hold something, by offset.
func (p Pieces) sorted() Pieces {
	p = slices.DeleteFunc(slices.Clone(p), func(a Piece) bool { return a.Data.Value == "" })
	slices.SortStableFunc(p, func(a, b Piece) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	return p
}

// check reports pieces that do not fit.
func (p Pieces) check(report func(tasktree.Problem)) {
	bad := func(a Piece, format string, args ...any) {
		report(tasktree.Problem{Pos: a.Data.Pos, Path: fmt.Sprintf("content.%d", a.Offset), Msg: fmt.Sprintf(format, args...)})
	}
	all := p.sorted()
	for i, a := range all {
		if i > 0 && all[i-1].end() > a.Offset {
			bad(a, "it begins within what is at %d, which ends at %d", all[i-1].Offset, all[i-1].end())
		}
		if a.Offset < 0 || a.end() < a.Offset {
			bad(a, "it ends beyond the largest offset")
		}
	}
}

// extents gives whole pages of the content, one after the other as one, as a file system
// has them. size is that of the file.
func (p Pieces) extents(page, size int64) (all []LiveExtent) {
	for _, a := range p.sorted() {
		start, end := a.Offset&^(page-1), min((a.end()+page-1)&^(page-1), size)
		n := len(all) - 1
		if n < 0 || all[n].Offset+int64(len(all[n].Data)) < start {
			all = append(all, LiveExtent{Offset: start})
			n++
		}
		e := &all[n]
		if more := end - e.Offset - int64(len(e.Data)); more > 0 {
			e.Data = append(e.Data, make([]byte, more)...)
		}
		copy(e.Data[a.Offset-e.Offset:], a.Data.Value)
	}
	return all
}

// ofExtents gives the content in the one form in which it is compared: what is not zero,
// in pieces with at least 16 zeros between them, and of pages that are no hole and have
// nothing but zeros the first byte.
func ofExtents(all []LiveExtent, holes bool) (p Pieces) {
	const apart = 16
	gap := make([]byte, apart)
	add := func(offset int64, data []byte) {
		p = append(p, Piece{Offset: offset, Data: tasktree.Text{Value: string(data), Set: true}})
	}
	for _, e := range all {
		before := len(p)
		for at := 0; at < len(e.Data); {
			from := bytes.IndexFunc(e.Data[at:], func(r rune) bool { return r != 0 })
			if from < 0 {
				break
			}
			at += from
			length := bytes.Index(e.Data[at:], gap)
			if length < 0 {
				length = len(bytes.TrimRight(e.Data[at:], "\x00"))
			}
			add(e.Offset+int64(at), e.Data[at:at+length])
			at += length
		}
		if len(p) == before && holes && len(e.Data) > 0 {
			add(e.Offset, e.Data[:1])
		}
	}
	return p
}
