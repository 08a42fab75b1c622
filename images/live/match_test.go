package live

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"regrow/images"
	"regrow/internal/proc"
	"regrow/tasktree"
	"regrow/tasktree/attr"
	"regrow/tasktree/kind"
)

// TestMatchPrograms tells processes that run one program by what they have, in whatever
// order they come. The kernel is not asked: a process is "NAME fd=path fd=path", with
// "ended" and "umask=octal" among these; a path may be "fifo:access", and has | for a blank.
func TestMatchPrograms(t *testing.T) {
	for _, c := range []struct {
		name     string
		children string   // of the description
		live     []string // children of the root, in the kernel's order
		want     string   // the children of the description that these are
	}{
		{"the order says nothing", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: two}, run: [sleep]}
      - {name: c, fds: {3: three}, run: [sleep]}
`, []string{"sleep 3=/two", "sleep 3=/three", "sleep 3=/one"}, "b c a"},
		{"one has less than another", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: one, 4: two}, run: [sleep]}
`, []string{"sleep 3=/one 4=/two", "sleep 3=/one"}, "b a"},
		{"one has less than another, and both have opened a file", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: one, 4: two}, run: [sleep]}
`, []string{"sleep 3=/one 4=/two 9=/x", "sleep 3=/one 9=/x"}, "b a"},
		{"what is close-on-exec is not there", `
      - {name: a, fds: {3: one, 4: {file: two, cloexec: true}}, run: [sleep]}
      - {name: b, fds: {3: three, 4: two}, run: [sleep]}
`, []string{"sleep 3=/three 4=/two", "sleep 3=/one"}, "b a"},
		{"by an attribute, with an exchange", `
      - {name: a, run: [sleep]}
      - {name: b, umask: 0027, run: [sleep]}
      - {name: c, run: [sleep]}
      - {name: d, umask: 0, run: [sleep]}
`, []string{"sleep umask=27", "sleep umask=0", "sleep umask=22", "sleep umask=22"}, "b d a c"},
		{"one has ended", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: two}, run: [sleep]}
      - {name: c, fds: {3: three}, run: [sleep]}
`, []string{"sleep 3=/three", "sleep ended", "sleep 3=/one"}, "c b a"},
		{"one has closed a file", `
      - {name: a, fds: {3: one, 5: two}, run: [sleep]}
      - {name: b, fds: {4: two, 5: three}, run: [sleep]}
`, []string{"sleep 4=/two", "sleep 3=/one 5=/two"}, "b a"},
		{"one has another file", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: two}, run: [sleep]}
`, []string{"sleep 3=/two", "sleep 3=/x"}, "b a"},
		{"another program is another one", `
      - {name: a, fds: {3: one}, run: [cat]}
      - {name: b, fds: {3: one}, run: [sleep]}
`, []string{"sleep 3=/one", "cat 3=/one"}, "b a"},
		{"all alike come in their order", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: one}, run: [sleep]}
      - {name: c, fds: {3: one}, run: [sleep]}
`, []string{"sleep 3=/one", "sleep 3=/one", "sleep 3=/one"}, "a b c"},
		{"a file that is gone is shown as such", `
      - {name: a, fds: {3: one}, run: [sleep]}
      - {name: b, fds: {3: gone}, run: [sleep]}
`, []string{"sleep 3=/gone|(deleted)", "sleep 3=/one"}, "b a"},
		{"an end of a FIFO is what it is open for", `
      - {name: a, fds: {3: fifo.r}, run: [sleep]}
      - {name: b, fds: {3: fifo.w}, run: [sleep]}
      - {name: c, fds: {3: fifo.rw}, run: [sleep]}
`, []string{"sleep 3=fifo:rw", "sleep 3=fifo:w", "sleep 3=fifo:r"}, "c b a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, err := images.Decode(strings.NewReader(`version: 1
files:
  one: {type: reg, path: /one}
  two: {type: reg, path: /two}
  three: {type: reg, path: /three}
  gone: {type: reg, path: /gone, flags: [O_RDWR], unlinked: true}
  fifo: {type: fifo, path: /fifo, ends: [r, w, rw], unlinked: true}
tasks:
  - name: root
    children:`+c.children), "tree.yaml", "")
			if err != nil {
				t.Fatal(err)
			}
			root := &process{Status: proc.Status{ID: proc.ID{PID: 1}, Name: "root"}, args: []string{"root"}}
			for i, line := range c.live {
				root.children = append(root.children, processOf(t, 2+i, root, line))
			}
			m := match(tree, &Seen{procs: append([]*process{root}, root.children...)}, &resolver{mounts: map[string]string{"/": "tmpfs"}})
			var got []string
			for _, p := range root.children {
				name := "-"
				if task := m.task[p]; task != nil {
					name = task.Name
				}
				got = append(got, name)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.live, diff)
			}
		})
	}
}

func processOf(t *testing.T, pid int, parent *process, line string) *process {
	t.Helper()
	words := strings.Fields(line)
	p := &process{
		Status: proc.Status{ID: proc.ID{PID: pid}, Name: words[0]}, parent: parent, args: words[:1], table: &table{},
	}
	p.table.owner = p
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "ended":
			p.State, p.args, p.table = 'Z', nil, nil
		case "umask":
			mask := &attr.Umask{Mask: tasktree.Number{Set: true}}
			for _, digit := range value {
				mask.Mask.Value = mask.Mask.Value<<3 | int64(digit-'0')
			}
			p.attrs = append(p.attrs, mask)
		default:
			e := &entry{kind: "reg", spec: &kind.Reg{Path: tasktree.Text{Value: strings.ReplaceAll(value, "|", " ")}}}
			if access, ok := strings.CutPrefix(value, "fifo:"); ok {
				e = &entry{kind: "fifo", spec: &kind.Fifo{
					Path: tasktree.Text{Value: "/fifo (deleted)"}, Opens: []kind.FifoEnd{{Access: tasktree.Text{Value: access}}},
				}}
			}
			c := &class{link: value, entry: e}
			p.table.fds = append(p.table.fds, descriptor{fd: int(key[0] - '0'), class: c})
		}
	}
	return p
}
