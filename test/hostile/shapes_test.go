package hostile

import (
	"fmt"
	"strings"
)

const size = 1 << 20

// shape is a description of 1 MiB that is designed to be expensive.
type shape struct {
	name string
	text string
}

const head = "version: 1\n"

// repeat returns a text of a fixed size: a beginning, repeated units, and an end.
func repeat(begin string, unit func(i int) string, end string) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := 0; ; i++ {
		u := unit(i)
		if b.Len()+len(u)+len(end) > size {
			return b.String() + end
		}
		b.WriteString(u)
	}
}

// same repeats one unit.
func same(begin, unit, end string) string {
	return repeat(begin, func(int) string { return unit }, end)
}

// format repeats a unit with its number in all verbs.
func format(begin, unit, end string) string {
	verbs := strings.Count(unit, "%") - 2*strings.Count(unit, "%%")
	return repeat(begin, func(i int) string {
		args := make([]any, verbs)
		for j := range args {
			args[j] = i
		}
		return fmt.Sprintf(unit, args...)
	}, end)
}

// listed returns n formatted units with commas between them.
func listed(n int, unit string) string {
	var all []string
	for i := range n {
		args := make([]any, strings.Count(unit, "%"))
		for j := range args {
			args[j] = i
		}
		all = append(all, fmt.Sprintf(unit, args...))
	}
	return strings.Join(all, ", ")
}

const (
	oneTask   = "tasks: [{name: a}]\n"
	null      = "files: {f: {type: reg, path: /dev/null}}\n"
	childrens = "tasks: [{name: r, children: ["
)

// broken are descriptions that are invalid YAML, or barely valid.
func broken() []shape {
	bomb := head + "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 12 {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	return []shape{
		{"brackets", same("", "[", "")},
		{"braces", same("", "{", "")},
		{"nested mappings", same("", "{a: ", "")},
		{"nested dashes", same("", "- ", "")},
		{"nested keys", same("", "? ", "")},
		{"a list at the deepest", same(head+"tasks: "+strings.Repeat("[", 8000), "a,", strings.Repeat("]", 8000))},
		{"lines of nested dashes", same("", strings.Repeat("- ", 2000)+"a\n", " x: [ ] ]\n")},
		{"lines of nested dashes and keys", same("", strings.Repeat("- ", 2000)+"a: b\n", "x ]\n")},
		{"entries, and a comma", same("", "- a\n", "a: {},\n")},
		{"unknown constructs", same("? a\n: b\n", "a: b\n", "a: {},\n")},
		{"escapes, and an unknown one", same(head+`tasks: ["`, `\u0041`, `\q"]`)},
		{"an alias without an anchor behind others", same(head+"a: &a b\ntasks: [", "*a, ", "*b]")},
		{"brackets over lines, and a comma", same(head+"tasks: [\n", "[a,a,a,a,a],{a: b},\n", "{, }]")},
		{"escapes of an older YAML, and a comma", same(head+"tasks: [\n", "\"\\'\",a,a,a,a,a,\n", ",]")},
		{"comments of an older YAML, and a comma", same(head+"tasks: [\n", "[a,a,a,a,a],{a: b},#\n", ",]")},
		{"tasks that do not end", same("tasks: [", "{name: a, children: [", "")},
		{"a bomb", bomb + oneTask},
		{"anchors", format(head+"tasks: [", "&a%x b,", "]")},
		{"anchors alone", same(head+"tasks: [", "&a ", "]")},
		{"unknown aliases", same(head+"tasks: [", "*a,", "]")},
		{"tags", same(head+"tasks: [", "!a b,", "]")},
		{"directives", same("", "%TAG ! a\n", "")},
		{"documents", same(head, "---\n", "")},
		{"an open quote", same(head+"tasks: '", "x\n", "")},
		{"an open quote over empty lines", same(head+"tasks: '", "\n", "")},
		{"an open brace", same(head+"tasks: [{", "a: b, ", "")},
		{"indentations", repeat(head+"tasks:\n", func(i int) string { return strings.Repeat(" ", i%40) + "a: b\n" }, "")},
		{"tabs", same(head+"tasks:\n", "\ta: b\n", "")},
		{"nothing but line ends", same("", "\n", "")},
		{"one comment", same("#", "#", "")},
		{"comments", same(head+oneTask, "#\n", "")},
		{"comments everywhere", format(head+"files:\n", " # c\n a%x: {type: pipe} # d\n", oneTask)},
		{"one plain scalar", same(head+"tasks: [{name: ", "x", "}]")},
		{"one plain scalar on many lines", same(head+"tasks:\n", " x\n", "")},
		{"one quoted scalar", same(head+`tasks: [{name: "`, `\x41`, `"}]`)},
		{"one block scalar", same(head+"tasks: |\n", " x\n", "")},
		{"one key", same(head, "x", ": 1\n"+oneTask)},
		{"lists as keys", same(head+oneTask+"{", "[a]: b,", "}")},
		{"wide characters", same(head+"tasks: [{x: 1, name: ", "\u4e00", "}]")},
	}
}

// wrong are descriptions with as many problems as fit.
func wrong() []shape {
	deep := func(unit string) string {
		return head + "tasks: [" + strings.Repeat(unit, 4090) + strings.Repeat("]}", 4090) + "]"
	}
	return []shape{
		{"scalars for tasks", same(head+"tasks: [", "a,", "]")},
		{"scalars for children", same(head+"tasks: [{name: a, children: [", "x,", "]}]")},
		{"nothing for children", same(head+"tasks:\n - name: a\n   children:\n", "   -\n", "")},
		{"unknown keys", format(head+"tasks: [{name: a,", "chilren%x: 1,", "}]")},
		{"keys at the top", format(head+oneTask, "%x: \n", "")},
		{"one key again and again", same(head+oneTask, "a: b\n", "")},
		{"files without anything", format(head+oneTask+"files: {", "%x: ,", "}")},
		{"unknown types", format(head+oneTask+"files: {", "f%x: {type: p},", "}")},
		{"one file again and again", same(head+oneTask+"files: {", "a: b,", "}")},
		{"aliases for tasks", same(head+"files: {f: &f {type: pipe}}\ntasks: [", "*f,", "]")},
		{"unknown flags", same(head+oneTask+"files: {f: {type: reg, path: a, flags: [", "O_SYNK,", "]}}\n")},
		{"flags given twice", same(head+oneTask+"files: {f: {type: reg, path: a, flags: [", "O_SYNC,", "]}}\n")},
		{"one pid for all", format(head+childrens, "{name: %x, pid: 1},", "]}]")},
		{"namespaces", same(head+oneTask+"namespaces: [", "pix,", "]")},
		{"variables given twice", same(head+"tasks: [{name: a, run: [a], env: {", "a: a,", "}}]")},
		{"numbers that are none", format(head+null+"tasks: [{name: r, fds: {", "x%x: f,", "}}]")},
		{"typing errors", format(head+"files: {"+listed(20000, "file%04x: {type: pipe}")+"}\ntasks: [{name: r, fds: {", "%d: fil%05x,", "}}]")},
		{"long typing errors", format(head+"files: {"+listed(6000, strings.Repeat("x", 55)+"%03x: {type: pipe}")+"}\ntasks: [{name: r, fds: {", "%d: "+strings.Repeat("y", 55)+"%04x,", "}}]")},
		{"one typing error among all", format(head+"files: {", "f%x: {type: pipe},", "}\ntasks: [{name: r, fds: {1: ffff}}]")},
		{"problems at the deepest", deep("{name: t, children: [x,")},
		{"more problems at the deepest", deep("{name: t, chldren: 1, fds: {x: y}, children: [")},
		{"a long path", same(head+"tasks: [{name: a, fds: {1: f}}]\nfiles: {f: {type: reg, path: ", "/dev/..", "}}")},
		{"a long name for all", head + "tasks: [{name: &n " + strings.Repeat("x", size/2) + ", children: [" + listed(size/40, "{name: *n}") + "]}]"},
		{"a long folder for all", head + "tasks: [{name: a, cwd: &c " + strings.Repeat("/a", size/4) + ", children: [" + listed(size/70, "{name: t%x, cwd: *c}") + "]}]"},
	}
}

// valid are valid descriptions of maximal content.
func valid() []shape {
	used := func(n int) string {
		return head + "files: {" + listed(n, "f%x: {type: pipe}") + "}\ntasks: [{name: a, fds: {" + listed(n, "%d: f%x.r") + "}}]"
	}
	const names = 500
	table := func(i int) string {
		var fds []string
		for j := range 60 {
			fds = append(fds, fmt.Sprintf("%d: f%d.r", j, (i*7+j*13)%names))
		}
		return fmt.Sprintf("{name: t%d, fds: {%s}},", i, strings.Join(fds, ","))
	}
	content := strings.Repeat("y", size/2)
	folders := strings.Repeat("/a:", size/12)
	deep := func(end string) string {
		var b strings.Builder
		for i := range 4090 {
			fmt.Fprintf(&b, "{name: t%d, children: [", i)
		}
		return head + "tasks: [" + b.String() + strings.Repeat("]}", 4090) + "]" + end
	}
	return []shape{
		{"files that nobody uses", format(head+oneTask+"files:\n", " f%x: {type: pipe}\n", "")},
		{"aliases for files", format(head+oneTask+"files: {f: &f {type: pipe},", "a%x: *f,", "}")},
		{"files in one table", used(19000)},
		{"one file in one table", head + null + "tasks: [{name: r, fds: {" + listed(50_000, "%d: f") + "}}]"},
		{"tasks", format(head+childrens, "{name: %x},", "]}]")},
		{"tasks on lines", format(head+"tasks:\n - name: r\n   children:\n", "    - {name: t%x}\n", "")},
		{"tasks with high pids", repeat(head+"namespaces: [pid]\n"+childrens, func(i int) string { return fmt.Sprintf("{name: %x, pid: %d},", i, 1<<22-i) }, "]}]")},
		{"tasks with high numbers", format(head+null+childrens, "{name: %x, fds: {999999: f}},", "]}]")},
		{"tasks with two numbers", format(head+null+childrens, "{name: %x, fds: {1: f, 999999: f}},", "]}]")},
		{"tasks with full tables", repeat(head+"files: {"+listed(names, "f%d: {type: pipe}")+"}\n"+childrens, table, "]}]")},
		{"programs", format(head+childrens, "{name: %x, run: [a%x]},", "]}]")},
		{"programs with a variable each", format(head+childrens, "{name: %x, run: [a%x], env: {A: %x}},", "]}]")},
		{"programs in many folders", head + "tasks: [{name: a, run: [a], env: &e {PATH: '" + folders + "'}, children: [" + listed(20_000, "{name: t%x, run: [b%x], env: *e}") + "]}]"},
		{"programs in many folders of their own", head + "tasks: [{name: a, run: [a], env: &e {PATH: '" + listed(50_000, "/%x:") + "'}, children: [" + listed(40, "{name: t%x, run: [b%x], env: *e}") + "]}]"},
		{"programs in as many folders as is allowed", head + "tasks: [{name: a, run: [a], env: &e {PATH: '" + folders + "'}, children: [" + listed(40, "{name: t%x, run: [b%x], env: *e}") + "]}]"},
		{"arguments by alias", head + "tasks: [{name: a, run: &l [" + strings.Repeat("x,", 2000) + "], children: [" + listed(20_000, "{name: t%x, run: *l}") + "]}]"},
		{"arguments by alias, as many as is allowed", head + "tasks: [{name: a, run: &l [" + strings.Repeat("x,", 2000) + "], children: [" + listed(120, "{name: t%x, run: *l}") + "]}]" + strings.Repeat("#", size/2)},
		{"one long argument by alias", head + "tasks: [{name: a, run: [a, &c " + strings.Repeat("a", 130_000) + "], children: [" + listed(20_000, "{name: t%x, run: [a, *c]}") + "]}]"},
		{"one long argument by alias, as often as is allowed", head + "tasks: [{name: a, run: [a, &c " + strings.Repeat("a", 130_000) + "], children: [" + listed(120, "{name: t%x, run: [a, *c, t%x]}") + "]}]"},
		{"tables by alias", head + "files: {f: {type: pipe}}\ntasks: [{name: r, fds: &l {" + listed(100, "%d: f.r") + "}, children: [" + listed(1200, "{name: t%x, fds: *l}") + "]}]"},
		{"content by alias", head + "files: {f: {type: reg, path: a, flags: [O_CREAT], content: &c " + content + "}, " + listed(6900, "f%x: {type: reg, path: a%x, flags: [O_CREAT], content: *c}") +
			"}\ntasks: [{name: a, fds: {" + listed(6900, "%d: f%x") + "}}]"},
		{"content by alias, as much as is allowed", head + "files: {f: {type: reg, path: a, flags: [O_CREAT], content: &c " + content + "}, " + listed(30, "f%x: {type: reg, path: a%x, flags: [O_CREAT], content: *c}") +
			"}\ntasks: [{name: a, fds: {" + listed(30, "%d: f%x") + "}}]"},
		{"a list of close-on-exec numbers", head + null + "tasks: [{name: r, fds: {" + listed(45_000, "%d: f") + "}, cloexec: [" + listed(45_000, "%d") + "]}]"},
		{"tasks with attributes", format(head+null+childrens, "{name: %x, umask: 0, nice: 1, fds: {1: f}, cloexec: all},", "]}]")},
		{"content in base64", same(head+"files: {f: {type: reg, path: a, flags: [O_CREAT], content: !!binary '", "AAAA ", "'}}\ntasks: [{name: a, fds: {0: f}}]")},
		{"keys to inherit", head + "files: {" + listed(9000, "f%x: {type: inherit, key: stdib%x}") + "}\ntasks: [{name: a, fds: {" + listed(9000, "%d: f%x") + "}}]"},
		{"deep", deep("")},
		{"deep, and a comment", same(deep("#"), "#", "")},
	}
}
