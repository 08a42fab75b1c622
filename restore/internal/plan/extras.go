package plan

import (
	"slices"
	"strconv"
)

// Extras finds equal extras of a plan. The zero value knows none.
type Extras struct {
	ids map[string]int32
	key []byte // memory that is used again
}

// Index gives the index of an extra in the plan, which it is added to if it is not there.
func (x *Extras) Index(p *Plan, e Extra) int32 {
	key := x.key[:0]
	for _, s := range []string{e.Name, e.Short, e.Path, e.Folder} {
		key = append(append(key, s...), 0)
	}
	for _, h := range e.Hints {
		key = append(append(strconv.AppendInt(key, int64(h.Errno), 10), h.Text...), 0)
	}
	for _, u := range e.Uses {
		for _, n := range [...]int{u.Arg, int(u.What.File), int(u.What.End)} {
			key = append(strconv.AppendInt(key, int64(n), 10), ',')
		}
	}
	x.key = key
	id, ok := x.ids[string(key)]
	if !ok {
		if x.ids == nil {
			x.ids = map[string]int32{}
		}
		id = int32(len(p.Extras))
		x.ids[string(key)] = id
		p.Extras = append(p.Extras, e)
	}
	return id
}

// ownUses are the uses of most calls, which have one open file, as argument 0.
var ownUses = [...][]Use{
	{{Arg: 0, What: FileEnd{File: OwnFile, End: 0}}},
	{{Arg: 0, What: FileEnd{File: OwnFile, End: 1}}},
}

// OwnUse adds an argument that is an end of the recipe's own file.
func OwnUse(uses []Use, arg, end int) []Use {
	if uses == nil && arg == 0 && end < len(ownUses) {
		return ownUses[end]
	}
	return append(slices.Clip(uses), Use{Arg: arg, What: FileEnd{File: OwnFile, End: int32(end)}})
}
