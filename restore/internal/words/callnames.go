package words

import (
	"fmt"

	"golang.org/x/sys/unix"

	"regrow/restore/internal/program"
)

// callNames has the system calls that programs are made of.
var callNames = map[uint32]string{
	unix.SYS_CHDIR: "chdir", unix.SYS_CLOSE: "close", unix.SYS_CLOSE_RANGE: "close_range",
	unix.SYS_DUP3: "dup3", unix.SYS_EXECVE: "execve", unix.SYS_FCNTL: "fcntl", unix.SYS_LSEEK: "lseek",
	unix.SYS_OPENAT: "openat", unix.SYS_OPENAT2: "openat2", unix.SYS_PIPE2: "pipe2", unix.SYS_PRCTL: "prctl", unix.SYS_PRLIMIT64: "prlimit64",
	unix.SYS_RT_SIGACTION: "rt_sigaction", unix.SYS_RT_SIGPROCMASK: "rt_sigprocmask", unix.SYS_SETSID: "setsid",
	unix.SYS_SENDMSG: "sendmsg", unix.SYS_SETSOCKOPT: "setsockopt", unix.SYS_SOCKETPAIR: "socketpair", unix.SYS_SIGALTSTACK: "sigaltstack", unix.SYS_UNSHARE: "unshare", unix.SYS_WRITE: "write",
}

// OpNames has the ops that are more, or less, than one system call.
var OpNames = map[program.OpKind]string{
	program.OpBegin: "set_robust_list", program.OpRefuse: "fstat", program.OpPull: "recvmsg", program.OpTake: "recvmsg(answer)", program.OpFork: "clone3", program.OpShed: "munmap",
	program.OpName: "prctl(PR_SET_MM_MAP)", program.OpReady: "wait", program.OpHold: "hold",
	program.OpReopen: "openat", program.OpCreate: "openat", program.OpCaller: "fcntl(F_GETFD)",
	program.OpAdd: "sendmsg", program.OpLend: "fcntl(F_DUPFD_CLOEXEC)", program.OpMeet: "meet", program.OpFind: "faccessat", program.OpWay: "chdir", program.OpReopenAt: "openat2", program.OpTruncate: "ftruncate",
	program.OpHelp: "clone3", program.OpEnd: "exit_group(helper)", program.OpReap: "wait4(helper)",
}

// OpName gives the system call of an op, or what else it is called.
func OpName(op *program.Op) string {
	if op.Flags&program.FlagOldClone != 0 {
		return "clone"
	}
	if name, ok := OpNames[op.Kind]; ok {
		return name
	}
	if name, ok := callNames[op.Nr]; ok {
		return name
	}
	return fmt.Sprintf("syscall %d", op.Nr)
}
