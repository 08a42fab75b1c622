package images_test

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// A program makes a tree and writes the description that regrow restores.
func ExampleEncode() {
	text := func(s string) tasktree.Text { return tasktree.Text{Value: s} }
	tree := &tasktree.Tree{
		Files: []*tasktree.OpenFile{
			{Name: "null", Spec: &kind.Reg{Path: text("/dev/null"), Flags: kind.Flags{Bits: unix.O_RDWR}}},
			{Name: "jobs", Spec: &kind.Pipe{Content: text("job 1\n")}},
		},
		Root: &tasktree.Task{
			Name: "init",
			FDs:  []tasktree.Descriptor{{FD: 0, File: text("null")}, {FD: 7, File: text("jobs.w"), Cloexec: true}},
			Children: []*tasktree.Task{
				{Name: "worker", FDs: []tasktree.Descriptor{{FD: 0, File: text("jobs.r")}}, Run: []tasktree.Text{text("cat")}},
			},
		},
	}
	if err := images.Encode(os.Stdout, tree); err != nil {
		fmt.Println(err)
	}
	// Output:
	// version: 1
	// files:
	//   null: {type: reg, path: /dev/null, flags: [O_RDWR]}
	//   jobs: {type: pipe, content: "job 1\n"}
	// tasks:
	//   - name: init
	//     fds: {0: null, 7: {file: jobs.w, cloexec: true}}
	//     children:
	//       - name: worker
	//         fds: {0: jobs.r}
	//         run: [cat]
}
