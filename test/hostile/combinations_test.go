package hostile

import (
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"regrow/images"
	"regrow/restore"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// more are keys that the examples of kinds do not have in this form.
var more = map[string][]string{
	"unix": {
		"options: {SO_RCVTIMEO: 1s, SO_PRIORITY: 3}", "filter: [[6, 0, 0, 65535]]", "shutdown: rd", "owner: 5", "flags: [O_NONBLOCK]",
		"connect: ./y", `name: "@n"`, "queue: {client: [x], server: [{data: y, files: [x]}]}", "queue: [{data: y, files: [x]}]", "backlog: 0", "mode: 0600",
		`listen: "@z"`, "bind: z.sock", "deleted: true",
	},
	"pipe": {"owner: 5", "mode: 0600", "capacity: 4KiB", "packet: false", "content: [a, b]", "content: abc", "read: 1", "flags: {w: [O_NONBLOCK]}"},
	"fifo": {"path: z", "hup: true", "owner: 5", "capacity: 4KiB", "packet: false", "content: abc", "read: 1", "ends: [w]", "ends: [r]", "ends: {}", "expect: {mode: 0600}"},
	"reg": {
		"path: z", "flags: [O_RDWR, O_CREAT]", "flags: [O_PATH]", "flags: [O_RDWR, O_TMPFILE]", "flags: [O_DIRECTORY]", "content: {4096: x}", "content: abc", "unlinked: true",
		"size: 1MiB", "links: [a, b]", "owner: 5", "mode: 0600", "offset: 7", "mtime: 5", "expect: {size: 4}", "expect: {}",
	},
	"memfd":    {"size: 0", "seals: []", "seals: [F_SEAL_EXEC]", "hugetlb: 2MiB", "content: {8192: x}", "flags: [O_APPEND]"},
	"reopen":   {"file: x", "flags: [O_WRONLY]"},
	"inherit":  {"key: stdin", "expect: {kind: file}"},
	"eventfd":  {"counter: 5000000000", "counter: 0"},
	"signalfd": {"signals: []", "signals: [SIGHUP]"},
}

// TestCombinationsOfKeys holds that what passes the checks can be planned: each entry of up
// to three keys, however little they go together, is refused with a place or gives a plan
// that the model accepts, with and without a descriptor of the caller's in its place.
func TestCombinationsOfKeys(t *testing.T) {
	host, err := restore.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kind.Names() {
		t.Run(name, func(t *testing.T) {
			k, _ := kind.Lookup(name)
			keys := append(keysOf(t, k.Example), more[name]...)
			planned := 0
			for i := range keys {
				for j := i; j < len(keys); j++ {
					for l := j; l < len(keys); l++ {
						if planCombination(t, host, k.Example, name, keys[i], keys[j], keys[l]) {
							planned++
						}
					}
				}
			}
			if planned == 0 {
				t.Errorf("none of the entries of %d keys is planned", len(keys))
			}
		})
	}
}

// keysOf gives the keys of all entries of an example but their types, each with its value.
func keysOf(t *testing.T, example string) (keys []string) {
	t.Helper()
	var entries map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(example), &entries); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		for i := 0; i+1 < len(entry.Content); i += 2 {
			value, err := yaml.Marshal(entry.Content[i+1])
			if err != nil {
				t.Fatal(err)
			}
			key := entry.Content[i].Value + ": " + strings.Join(strings.Fields(string(value)), " ")
			if entry.Content[i].Value != "type" && !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// planCombination plans an entry with some keys, beside the entries of an example. It
// reports whether that was possible.
func planCombination(t *testing.T, host restore.Host, example, kindOf string, keys ...string) (planned bool) {
	t.Helper()
	entry := "x: {type: " + kindOf
	had := map[string]bool{}
	for _, text := range keys {
		key, _, _ := strings.Cut(text, ":")
		if !had[key] {
			entry += ", " + text
		}
		had[key] = true
	}
	entry += "}"
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v", entry, p)
		}
	}()
	files := "version: 1\nfiles:\n  " + strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n  ") + "\n  " + entry + "\n"
	decode := func(fds string) (*tasktree.Tree, error) {
		return images.Decode(strings.NewReader(files+"tasks: [{name: t, fds: {"+fds+"}, children: [{name: c, fds: {"+fds+"}}]}]\n"), "tree.yaml", "/dir")
	}
	unused, err := decode("")
	if err != nil {
		return false
	}
	fds, given := "", map[string]int{}
	for end := range max(1, len(unused.FileNamed("x").Spec.Ends())) {
		name := unused.FileNamed("x").EndName(end)
		fds += fmt.Sprintf("%d: %s, ", 5+2*end, name)
		given[name] = 9
	}
	tree, err := decode(fds)
	if err != nil {
		t.Errorf("%s: only without descriptors: %v", entry, err)
		return false
	}
	for _, inherit := range []map[string]int{nil, given} {
		for _, s := range restore.Strategies() {
			p, err := restore.NewPlan(tree, host, restore.PlanOptions{Strategy: s, Inherit: inherit})
			if err != nil {
				continue // with its reason
			}
			if err := p.Verify(); err != nil {
				t.Errorf("%s, %s: %v", entry, s, err)
			}
			planned = true
		}
	}
	return planned
}
