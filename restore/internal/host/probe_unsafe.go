package host

import (
	"errors"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
)

// everyCall is a system call that every restore makes, and its purpose. The probe makes it
// with an argument that the kernel itself refuses, so it changes nothing: any other answer
// is a sandbox's.
type everyCall struct {
	name    string
	need    string
	held    bool // only tasks without a program make it
	try     func() error
	refusal unix.Errno // of the kernel
}

var everyCalls = []everyCall{
	{
		name: "prctl(PR_GET_CHILD_SUBREAPER)", need: "orphans of the tree come to regrow", refusal: unix.EFAULT,
		try: func() error { return unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, 0, 0, 0, 0) },
	},
	{
		name: "prctl(PR_SET_CHILD_SUBREAPER)", need: "orphans of the tree come to regrow", refusal: 0,
		try: func() error {
			is, err := proc.IsSubreaper()
			if err != nil {
				return nil //nolint:nilerr // said already
			}
			same := uintptr(0)
			if is {
				same = 1
			}
			return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, same, 0, 0, 0)
		},
	},
	{
		name: "set_robust_list", need: "tasks learn that regrow was killed", refusal: unix.EINVAL,
		try: func() error { return answer(unix.SYS_SET_ROBUST_LIST, 0, 0, 0) },
	},
	{
		name: "get_robust_list", need: "tasks learn that regrow was killed", refusal: unix.EFAULT,
		try: func() error { return answer(unix.SYS_GET_ROBUST_LIST, 0, 0, 0) },
	},
	{
		name: "prctl(PR_SET_NAME)", need: "a task without a program gets its name", held: true, refusal: unix.EFAULT,
		try: func() error { return unix.Prctl(unix.PR_SET_NAME, 0, 0, 0, 0) },
	},
	{
		name: "prctl(PR_SET_MM)", need: "a task without a program gets its argument list (kernels without CONFIG_CHECKPOINT_RESTORE refuse it, too)", held: true, refusal: unix.EFAULT,
		try: func() error { return unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE, 0, 0, 0) },
	},
}

func answer(nr, a, b, c uintptr) error {
	if _, _, e := unix.RawSyscall(nr, a, b, c); e != 0 {
		return e
	}
	return nil
}

// refusedCall is a call that every restore makes and that is refused here.
type refusedCall struct {
	everyCall

	err error
}

// tryCalls tries the calls that every restore makes.
func tryCalls() (refused []refusedCall) {
	for _, c := range everyCalls {
		err := c.try()
		if err == nil && c.refusal == 0 || errors.Is(err, c.refusal) && c.refusal != 0 {
			continue
		}
		refused = append(refused, refusedCall{c, err})
	}
	return refused
}
