package main

import (
	"fmt"
	"strings"
)

// description writes the tree. Descriptors use the files in turn, so that each file is used
// and adjacent numbers are different files.
func description(opt options) string {
	var b strings.Builder
	b.WriteString("version: 1\nfiles:\n")
	files := opt.Files
	if opt.Shape == "private" {
		files = opt.Tasks * opt.FDs
	}
	for i := range files {
		fmt.Fprintf(&b, "  f%d: {type: reg, path: /dev/null, flags: [O_RDWR]}\n", i)
	}
	b.WriteString("tasks:\n  - name: root\n    children:\n")
	n := 0
	table := func() string {
		fds := make([]string, opt.FDs)
		for j := range fds {
			fds[j] = fmt.Sprintf("%d: {file: f%d, cloexec: true}", opt.Base+j, n%files)
			n++
		}
		return strings.Join(fds, ", ")
	}
	if opt.Shape == "chain" {
		b.WriteString("      - ")
		for t := range opt.Tasks {
			if t > 0 {
				b.WriteString(", children: [")
			}
			fmt.Fprintf(&b, "{name: t%d, fds: {%s}", t, table())
		}
		b.WriteString(strings.Repeat("}]", opt.Tasks-1) + "}\n")
		return b.String()
	}
	for t := range opt.Tasks {
		fmt.Fprintf(&b, "      - {name: t%d, fds: {%s}}\n", t, table())
	}
	return b.String()
}
