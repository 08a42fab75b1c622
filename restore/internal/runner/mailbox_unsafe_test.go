package runner

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"regrow/internal/proc"
	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
)

// TestMailbox holds, by what the kernel gives, that a recipe can send a message with
// another open file in it, and that the report has what was learned on the way.
func TestMailbox(t *testing.T) {
	here, err := host.ThisHost()
	if err != nil {
		t.Fatal(err)
	}
	p, err := planner.New(plantest.Reference(t, t.TempDir()), here, plan.Options{Detach: true})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := startNow(t.Context(), p, Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Abort()
	const letter, made, box = "letter", 7, 41 // numbers in the root
	if got := tree.Report().Learned["box"]["waiting"]; got != uint64(len(letter)) {
		t.Errorf("learned that %d bytes wait, want %d", got, len(letter))
	}
	root, err := proc.Of(tree.RootPID())
	if err != nil {
		t.Fatal(err)
	}
	socket, err := proc.CopyFD(root, box)
	if err != nil {
		t.Skipf("pidfd_getfd: %v", err)
	}
	defer unix.Close(socket)
	var owner struct{ kind, pid int32 } // struct f_owner_ex
	if _, _, e := unix.Syscall(unix.SYS_FCNTL, uintptr(socket), unix.F_GETOWN_EX, uintptr(unsafe.Pointer(&owner))); e != 0 {
		t.Fatal(e)
	}
	if below := tree.Report().Tasks[p.Tree.TaskNamed("below").Index].PID; owner.kind != 1 || int(owner.pid) != below {
		t.Errorf("the owner is %+v, want process %d", owner, below)
	}
	text, rights := make([]byte, 100), make([]byte, unix.CmsgSpace(4*4))
	n, oobn, _, _, err := unix.Recvmsg(socket, text, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil || string(text[:n]) != letter {
		t.Fatalf("received %q, %v", text[:n], err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:oobn])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("files %v, %v", fds, err)
	}
	defer unix.Close(fds[0])
	mine, err := proc.CopyFD(root, made)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(mine)
	// One open file: what the one moves, the other has moved.
	if _, err := unix.Seek(fds[0], 3, unix.SEEK_SET); err != nil {
		t.Fatal(err)
	}
	if at, err := unix.Seek(mine, 0, unix.SEEK_CUR); at != 3 || err != nil {
		t.Errorf("the file in the letter is another one: offset %d, %v", at, err)
	}
}
