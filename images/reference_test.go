package images

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/schema"
)

// keyTable matches a table of keys in the reference page.
var keyTable = regexp.MustCompile(`(?s)<!-- keys of ([a-z]+), written by go test ./images -update -->\n(.*?)<!-- end -->`)

// TestReference checks that docs/description.md has the table of keys of each declaration.
func TestReference(t *testing.T) {
	declared := map[string]schema.Fielder{"document": &document{}, "task": &task{}, "caller": (*caller)(&tasktree.Caller{})}
	required := len(declared)
	for _, name := range kind.Names() {
		k, _ := kind.Lookup(name)
		declared[name] = k.New()
	}
	generated(t, "../docs/description.md", keyTable, func(name string) (string, bool) {
		data, ok := declared[name]
		if _, kinds := kind.Lookup(name); ok && !kinds {
			required--
		}
		return "<!-- keys of " + name + ", written by go test ./images -update -->\n" + schema.Markdown(schema.Rows(data)) + "<!-- end -->", ok
	})
	if required > 0 {
		t.Errorf("%d tables are missing", required)
	}
}

// kindsPart matches the section of a kind in docs/kinds.md.
var kindsPart = regexp.MustCompile(`(?s)<!-- ([a-z]+), written by go test ./images -update -->\n(.*?)<!-- end -->`)

// TestKindsPage checks that docs/kinds.md has the section that each kind declares.
func TestKindsPage(t *testing.T) {
	seen := 0
	generated(t, "../docs/kinds.md", kindsPart, func(name string) (string, bool) {
		seen++
		var b strings.Builder
		b.WriteString("<!-- kinds, written by go test ./images -update -->\n")
		for _, name := range kind.Names() {
			k, _ := kind.Lookup(name)
			if k.Doc == "" {
				t.Errorf("kind %q has no description", name)
			}
			if _, taken := k.New().(tasktree.Taken); k.Example == "" && !taken {
				t.Errorf("kind %q has no example", name)
			}
			b.WriteString(section(k))
		}
		b.WriteString("<!-- end -->")
		return b.String(), name == "kinds"
	})
	if seen != 1 {
		t.Errorf("the page has %d parts, want one", seen)
	}
}

// section returns the section of a kind.
func section(k kind.Kind) string {
	var b strings.Builder
	table := strings.ReplaceAll(schema.Markdown(schema.Rows(k.New())), "](#", "](description.md#")
	fmt.Fprintf(&b, "\n## `%s`\n\n%s\n\n%s", k.Name, k.Doc, table)
	if len(k.New().Ends()) > 0 || k.Rights != "" || k.Kernels != "" {
		b.WriteString("\n")
	}
	if ends := k.New().Ends(); len(ends) > 0 {
		fmt.Fprintf(&b, "- Ends: `%s`.\n", strings.Join(ends, "`, `"))
	}
	if k.Rights != "" {
		fmt.Fprintf(&b, "- Rights: %s\n", k.Rights)
	}
	if k.Kernels != "" {
		fmt.Fprintf(&b, "- Kernels: %s\n", k.Kernels)
	}
	if k.Example != "" {
		fmt.Fprintf(&b, "\n```yaml\n%s```\n", k.Example)
	}
	return b.String()
}

// generated checks the parts of a page that match against the declarations, or writes them.
// The first group is the name of a part.
func generated(t *testing.T, path string, parts *regexp.Regexp, must func(name string) (string, bool)) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := parts.ReplaceAllFunc(page, func(part []byte) []byte {
		name := string(parts.FindSubmatch(part)[1])
		text, ok := must(name)
		if !ok {
			t.Errorf("%s has a part about %q, which is not declared", path, name)
			return part
		}
		return []byte(text)
	})
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
