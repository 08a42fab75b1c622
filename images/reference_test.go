package images

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// keyTable matches a table of keys in the reference page, with what it is of.
var keyTable = regexp.MustCompile(`(?s)<!-- keys of ([a-z]+), written by go test ./images -update -->\n(.*?)<!-- end -->`)

// TestReference holds that the tables of keys in docs/description.md are the ones
// that are declared, with what is said there of each key.
func TestReference(t *testing.T) {
	const path = "../docs/description.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]schema.Fielder{"document": &document{}, "task": &task{}, "caller": (*caller)(&tasktree.Caller{})}
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		declared[name] = k.New()
	}
	want := keyTable.ReplaceAllFunc(page, func(part []byte) []byte {
		m := keyTable.FindSubmatch(part)
		name := string(m[1])
		data, ok := declared[name]
		if !ok {
			t.Errorf("%s has a table of keys of %q, which is not declared", path, name)
			return part
		}
		delete(declared, name)
		return []byte("<!-- keys of " + name + ", written by go test ./images -update -->\n" + schema.Markdown(schema.Rows(data)) + "<!-- end -->")
	})
	for name := range declared {
		t.Errorf("%s has no table of the keys of %s", path, name)
	}
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(page)); diff != "" {
		t.Errorf("declared (-) and in %s (+):\n%s", path, diff)
	}
}
