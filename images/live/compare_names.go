package live

import (
	"slices"
	"strconv"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/schema"
)

// turned are the open files of a description whose live ends are met the other way round.
type turned map[*tasktree.OpenFile]bool

// liveEnd gives the index of an end of the description in the live entry: where nothing
// tells the ends of a pair apart, they may have been met the other way round.
func (t turned) liveEnd(f *tasktree.OpenFile, end int) int {
	if t[f] {
		return 1 - end
	}
	return end
}

// lacks reports whether a path of keys is about an end that no task has.
func (t turned) lacks(f *tasktree.OpenFile, e *entry, path string) bool {
	_, rest, _ := strings.Cut(path, ".")
	ends := e.spec.Ends()
	i := slices.IndexFunc(ends, func(name string) bool { return isBelow(rest, name) })
	return i >= 0 && len(ends) > 1 && e.ends[t.liveEnd(f, i)] == nil
}

// isBelow reports whether a path of keys is a key, or of something in its value.
func isBelow(path, key string) bool {
	rest, ok := strings.CutPrefix(path, key)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// inLive finds the open files of a description in the live tree.
type inLive struct{ *comparison }

// asLive puts the names that open files have in the live tree in the place of those of the
// description, "" for one that no task has. It gives the ones before, by path.
func (c inLive) asLive(made tasktree.Spec) (described map[string]string) {
	for _, ref := range schema.References(made) {
		if ref.To != schema.ToFile {
			continue
		}
		if described == nil {
			described = map[string]string{}
		}
		described[ref.Path] = ref.Name.Value
		ref.Name.Value, ref.Name.Set = c.nameOf(ref.Name.Value)
		if !ref.Name.Set {
			ref.Name.Pos = tasktree.Pos{}
		}
	}
	return described
}

// nameOf gives the name in the live tree of an open file of the description. said is false
// if nobody can say which one it is: one of the caller's that is not known here.
func (c inLive) nameOf(described string) (live string, said bool) {
	file, of, _ := strings.Cut(described, ".")
	f := c.tree.FileNamed(file)
	if f == nil {
		return "", true
	}
	e := end{f, max(0, slices.Index(f.Spec.Ends(), of))}
	if u, met := c.first[e]; met {
		return u.class.name(), true
	}
	key := callerKey(e)
	if key == "" {
		return "", true
	}
	for _, entry := range c.seen.entries {
		for _, class := range entry.ends {
			if class != nil && slices.Contains(class.own, key) {
				return class.name(), true
			}
		}
	}
	_, known := c.seen.own[key]
	return "", known
}

// asDescribed gives the name in the description of a live open file by its quoted name in
// the live tree.
func (c inLive) asDescribed(quoted string) string {
	for class, u := range c.uses {
		if strconv.Quote(class.name()) == quoted {
			return strconv.Quote(u.d.Open.EndName(u.d.End))
		}
	}
	if quoted == `""` {
		return "an open file that no task has"
	}
	return quoted
}
