package restore

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/tasktree"
)

func ExampleHostError() {
	err := error(&plan.HostError{Source: "tree.yaml", Lacks: []plan.Lack{
		{Pos: tasktree.Pos{Line: 2, Col: 14}, Msg: "a new pid namespace needs CAP_SYS_ADMIN", Err: unix.EPERM},
		{Pos: tasktree.Pos{Line: 9, Col: 10}, Msg: `task "a": fd 99999: the hard RLIMIT_NOFILE is 1024`},
	}})
	if host, ok := errors.AsType[*plan.HostError](err); ok {
		for _, lack := range host.Lacks {
			fmt.Println(lack.Pos, lack.Msg)
		}
	}
	// Output:
	// 2:14 a new pid namespace needs CAP_SYS_ADMIN
	// 9:10 task "a": fd 99999: the hard RLIMIT_NOFILE is 1024
}
