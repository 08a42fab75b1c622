package host

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
)

// memory has what memory files need: huge pages, those of one size together, and a seal
// that older kernels do not have.
func (c *hostCheck) memory() {
	pages := map[int64]*hugePages{}
	for _, f := range c.tree.Files {
		needy, ok := f.Spec.(tasktree.Needy)
		if !ok || !f.Needed {
			continue
		}
		for _, n := range needy.Host(c.tree) {
			switch n.What {
			case recipe.SealExec:
				if !c.host.ExecSealed {
					c.lack(n.Pos, nil, "file %q: F_SEAL_EXEC is not in this kernel, whose memfd_create refuses MFD_NOEXEC_SEAL (Linux 6.3); leave it out", f.Name)
				}
			case recipe.HugePages:
				p := pages[n.Size]
				if p == nil {
					p = &hugePages{}
					p.free, p.there = c.ask.hugePages(n.Size)
					pages[n.Size] = p
				}
				c.huge(p, f, n)
			default:
			}
		}
	}
}

// hugePages are those of one size.
type hugePages struct {
	free   int64
	there  bool
	needed int64 // of the files so far
}

func (c *hostCheck) huge(p *hugePages, f *tasktree.OpenFile, n recipe.Need) {
	const kib = 1024
	before := p.needed
	p.needed += n.N
	switch folder := hugeFolder(n.Size); {
	case !p.there:
		c.lack(n.Pos, nil, "file %q: this host has no huge pages of %d bytes (%s); ask for another size, or leave hugetlb out", f.Name, n.Size, folder)
	case p.needed > p.free && before <= p.free: // the first that is beyond
		c.lack(n.Pos, nil, "file %q: %d huge pages of %d KiB are needed and %d are free; make more (echo N > %s/nr_hugepages), or leave hugetlb out",
			f.Name, p.needed, n.Size/kib, p.free, folder)
	}
}

func hugeFolder(size int64) string {
	const kib = 1024
	return fmt.Sprintf("/sys/kernel/mm/hugepages/hugepages-%dkB", size/kib)
}

// freeHugePages counts the pages that nobody has reserved, and those that the kernel may
// make beyond (nr_overcommit_hugepages).
func freeHugePages(size int64) (free int64, there bool) {
	read := func(name string) int64 {
		text, err := os.ReadFile(hugeFolder(size) + "/" + name)
		if err != nil {
			return 0
		}
		there = true
		n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return n
	}
	free = read("free_hugepages") - read("resv_hugepages")
	return free + max(read("nr_overcommit_hugepages")-read("surplus_hugepages"), 0), there
}
