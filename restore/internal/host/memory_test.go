package host

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// TestLackingMemory holds what is said of huge pages and seals that a host does not have.
func TestLackingMemory(t *testing.T) {
	line := 0
	at := func() tasktree.Pos { line++; return tasktree.Pos{Line: line, Col: 1} }
	word := func(s string) tasktree.Text { return tasktree.Text{Value: s, Pos: at()} }
	number := func(n int64) tasktree.Number { return tasktree.Number{Value: n, Pos: at()} }
	tree := &tasktree.Tree{Source: "tree.yaml", Files: []*tasktree.OpenFile{
		{Name: "sealed", Pos: at(), Spec: &kind.Memfd{Seals: kind.Flags{Bits: unix.F_SEAL_EXEC, Pos: at()}}},
		{Name: "first", Pos: at(), Spec: &kind.Memfd{HugeTLB: number(2 << 20), Size: number(2 << 20), Content: kind.Pieces{{Data: word("x")}}}},
		{Name: "second", Pos: at(), Spec: &kind.Memfd{HugeTLB: number(2 << 20), Size: number(2 << 20), Content: kind.Pieces{{Data: word("x")}}}},
		{Name: "third", Pos: at(), Spec: &kind.Memfd{HugeTLB: number(2 << 20), Size: number(2 << 20), Content: kind.Pieces{{Data: word("x")}}}},
		{Name: "large", Pos: at(), Spec: &kind.Memfd{HugeTLB: number(1 << 30), Size: number(1 << 30)}},
		{Name: "unused", Pos: at(), Spec: &kind.Memfd{HugeTLB: number(1 << 31), Size: number(1 << 31)}},
	}}
	tree.Root = &tasktree.Task{Name: "root", Pos: at()}
	for i, name := range []string{"sealed", "first", "second", "third", "large"} {
		tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: word(name), Pos: at()})
	}
	if problems := tree.Check(); len(problems) > 0 {
		t.Fatal(problems)
	}
	ask := able()
	ask.hugePages = func(size int64) (int64, bool) { return 1, size == 2<<20 }
	const seal = "tree.yaml:2:1: host: file \"sealed\": F_SEAL_EXEC is not in this kernel, whose memfd_create refuses MFD_NOEXEC_SEAL (Linux 6.3); leave it out"
	const pages = "tree.yaml:8:1: host: file \"second\": 2 huge pages of 2048 KiB are needed and 1 are free; make more (echo N > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages), or leave hugetlb out"
	const size = "tree.yaml:16:1: host: file \"large\": this host has no huge pages of 1073741824 bytes (/sys/kernel/mm/hugepages/hugepages-1048576kB); ask for another size, or leave hugetlb out"
	for _, c := range []struct {
		knows bool
		want  []string
	}{{false, []string{seal, pages, size}}, {true, []string{pages, size}}} {
		var got []string
		for _, l := range Lacking(tree, plan.Host{HardFiles: 1 << 20, ExecSealed: c.knows}, ask) {
			got = append(got, (&plan.HostError{Source: "tree.yaml", Lacks: []plan.Lack{l}}).Error())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("lacks\n%q, want\n%q", got, c.want)
		}
	}
}
