//go:build linux

package fdstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/fdstore/wire"
)

// helpers are the helper programs: functions that the test binary runs in a process of
// its own. A helper's error is printed to standard error and fails its test.
var helpers = map[string]func(args []string) error{
	"pull":      helpPull,
	"emfile":    helpEMFILE,
	"inherited": helpInherited,
	"hang":      helpHang,
	"allowance": helpAllowance,
	"adopt":     helpAdopt,
	"fill":      helpFill,
	"kept":      helpKept,
	"inflight":  helpInFlight,
	"unpriv":    helpUnprivileged,
	"move":      helpMoveOffset,
	"open":      helpOpen,
	"race":      helpRace,
	"same":      helpSameFile,
	"stranger":  helpStranger,

	"interrupted": helpInterrupted,
}

func runHelper(name string) {
	err := helpers[name](os.Args[1:])
	if why, ok := errors.AsType[needError](err); ok {
		fmt.Print(why.Error())
		os.Exit(skipStatus)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// needError makes the test of a helper skip.
type needError struct{ why string }

func (e needError) Error() string { return e.why }

const skipStatus = 77

// newHelper returns the command of a helper, which has the store's socket, if any, as
// descriptor 3. It is not started yet.
func newHelper(t testing.TB, s *Store, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), helperEnv+"="+name)
	cmd.Stderr = os.Stderr
	if s != nil {
		dup, err := unix.FcntlInt(uintptr(s.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		socket := os.NewFile(uintptr(dup), "store")
		t.Cleanup(func() { socket.Close() })
		cmd.ExtraFiles = []*os.File{socket}
	}
	return cmd
}

// startHelper starts a helper.
func startHelper(t testing.TB, s *Store, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := newHelper(t, s, name, args...)
	cmd.Stdout = &strings.Builder{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func waitHelper(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	err := cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == skipStatus {
		skip(t, fmt.Sprint(cmd.Stdout))
	}
	if err != nil {
		t.Errorf("helper: %v", err)
	}
}

// peeked is the result of one setsockopt and one recvmsg.
type peeked struct {
	data  []byte
	fds   []int // open, the caller's
	flags int
}

// rawPeek sets the offset of a message and peeks, without a check of the payload. It uses
// only constants of the package.
func rawPeek(sock int, w wire.Word) (peeked, error) {
	if err := setsockopt(sock, unix.SO_PEEK_OFF, int(w.Offset())); err != nil {
		return peeked{}, err
	}
	data, oob := make([]byte, wire.PayloadSize), make([]byte, unix.CmsgLen(4*w.Files()))
	got, oobn, flags, _, err := unix.Recvmsg(sock, data, oob, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return peeked{}, err
	}
	p := peeked{data: data[:got], flags: flags}
	if oobn >= unix.CmsgLen(4) {
		h, data, _, err := unix.ParseOneSocketControlMessage(oob[:oobn])
		if err != nil || h.Level != unix.SOL_SOCKET || h.Type != unix.SCM_RIGHTS {
			return peeked{}, fmt.Errorf("control message %v: %w", h, err)
		}
		for ; len(data) >= 4; data = data[4:] {
			p.fds = append(p.fds, int(binary.NativeEndian.Uint32(data)))
		}
	}
	return p, nil
}

// rawPull is the sequence of the package comment: one try.
func rawPull(sock int, number uint64, w wire.Word) (fds []int, flags int, ok bool, err error) {
	p, err := rawPeek(sock, w)
	if err != nil {
		return nil, 0, false, err
	}
	ours := len(p.data) == wire.PayloadSize &&
		binary.NativeEndian.Uint64(p.data) == number && binary.NativeEndian.Uint64(p.data[8:]) == uint64(w)
	if ours && p.flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) == 0 && len(p.fds) == w.Files() {
		return p.fds, p.flags, true, nil
	}
	closeAll(p.fds)
	return nil, p.flags, false, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// helpPull pulls at random ids; args: number, messages, gets. Message i has
// groupSize(i) memfds, and file j of it contains "i.j".
func helpPull(args []string) error {
	number, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	messages, _ := strconv.Atoi(args[1])
	gets, _ := strconv.Atoi(args[2])
	before := len(descriptors())
	for range gets {
		id := ID(rand.N(messages))
		if err := pullAndCheck(number, id); err != nil {
			return fmt.Errorf("message %d: %w", id, err)
		}
	}
	if after := len(descriptors()); after != before {
		return fmt.Errorf("%d descriptors before, %d after", before, after)
	}
	return nil
}

// rawGet pulls a message, with as many tries as necessary.
func rawGet(sock int, number uint64, w wire.Word) ([]int, error) {
	for range wire.MaxTries {
		fds, _, ok, err := rawPull(sock, number, w)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return nil, err
		}
		if ok {
			return fds, nil
		}
	}
	return nil, ErrContended
}

func pullAndCheck(number uint64, id ID) error {
	sock := 3
	place := Nested.Place(id, groupSize(int(id)))
	for _, w := range place.Way[:place.Depth] {
		next, err := rawGet(sock, number, w)
		if err != nil {
			return err
		}
		sock = next[0]
		defer unix.Close(sock)
	}
	fds, err := rawGet(sock, number, place.Word)
	if err != nil {
		return err
	}
	for j, fd := range fds {
		f := os.NewFile(uintptr(fd), "pulled")
		got, err := content(f)
		if want := fmt.Sprintf("%d.%d", id, j); err != nil || got != want {
			return fmt.Errorf("file %d contains %q, not %q: %w", j, got, want, err)
		}
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			return fmt.Errorf("file %d: flags %#x, %w", j, flags, err)
		}
		f.Close()
	}
	return nil
}

func groupSize(i int) int { return 1 + i%3 }

// helpOpen opens the store at descriptor 3, gets random messages and compares the files
// with the open files of the maker; args: gets, the maker's pid, the maker's descriptors
// of all files in order. It prints how long each get took, in ns.
func helpOpen(args []string) error {
	gets, _ := strconv.Atoi(args[0])
	maker, _ := strconv.Atoi(args[1])
	theirs := strings.Split(args[2], ",")
	s, err := Open(3)
	if err != nil {
		return err
	}
	if id, err := s.Lookup("first"); err != nil || id != 0 {
		return fmt.Errorf("the name first: %d, %w", id, err)
	}
	for range gets {
		id := rand.N(s.Len())
		begin := time.Now()
		files, err := s.GetGroup(ID(id))
		fmt.Println(time.Since(begin).Nanoseconds())
		if err != nil {
			return err
		}
		first := 0
		for i := range id {
			first += groupSize(i)
		}
		for j, f := range files {
			fd, _ := strconv.Atoi(theirs[first+j])
			if same, err := kcmpFile(os.Getpid(), int(f.Fd()), maker, fd); err != nil || !same {
				return fmt.Errorf("file %d.%d is not the maker's descriptor %d: %w", id, j, fd, err)
			}
		}
		if err := check(files, id); err != nil {
			return err
		}
	}
	return s.Close()
}

// helpMoveOffset moves the peek offset args[0] times.
func helpMoveOffset(args []string) error {
	times, _ := strconv.Atoi(args[0])
	for range times {
		if err := setsockopt(3, unix.SO_PEEK_OFF, wire.PayloadSize*rand.N(10)); err != nil {
			return err
		}
	}
	return nil
}

// helpSameFile pulls message 0 and asks the kernel whether it is the open file of
// descriptor args[2] in process args[1].
func helpSameFile(args []string) error {
	number, _ := strconv.ParseUint(args[0], 10, 64)
	pid, _ := strconv.Atoi(args[1])
	fd, _ := strconv.Atoi(args[2])
	fds, _, ok, err := rawPull(3, number, Nested.Place(0, 1).Word)
	if err != nil || !ok {
		return fmt.Errorf("pull: %v, %w", ok, err)
	}
	same, err := kcmpFile(pid, fd, os.Getpid(), fds[0])
	if err != nil {
		return needError{err.Error()}
	}
	if !same {
		return errors.New("not the same open file")
	}
	return nil
}

// helpKept fills the descriptor table with sockets that gets keep open. A get whose files
// do not fit closes them.
func helpKept([]string) error {
	s, err := New(Options{})
	if err != nil {
		return err
	}
	group := make([]int, 20)
	const last = 60 * wire.ShardSize // in the root's last shards and in a branch
	for i := range last + 1 {
		if _, err := s.AddFDs(group[:1+i/last*(len(group)-1)]); err != nil { // each file is standard input
			return err
		}
	}
	if err := s.Seal(); err != nil {
		return err
	}
	before := len(descriptors())
	for id := Nested; id < last; id += wire.ShardSize {
		f, err := s.Get(ID(id))
		if err != nil {
			return err
		}
		f.Close()
	}
	if more := len(descriptors()) - before; more < 20 || more > last/wire.ShardSize+1 {
		return fmt.Errorf("gets keep %d sockets", more)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = nextDescriptor(len(group) - 5) // there is space when 5 kept sockets are closed
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	files, err := s.GetGroup(last)
	if err != nil {
		return err
	}
	for _, f := range files {
		f.Close()
	}
	return s.Close()
}

// helpEMFILE gets a group when the descriptor table is nearly full.
func helpEMFILE([]string) error {
	s, err := New(Options{})
	if err != nil {
		return err
	}
	f, err := newMemfd("group")
	if err != nil {
		return err
	}
	group := make([]int, 20)
	for i := range group {
		group[i] = int(f.Fd())
	}
	id, err := s.AddFDs(group)
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	before := descriptors()
	// Space for 0 to 19 files: the kernel returns MSG_CTRUNC in all these cases.
	for room := range len(group) {
		low := old
		low.Cur = nextDescriptor(room)
		if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			return err
		}
		files, err := s.GetGroup(id)
		if !errors.Is(err, ErrNoDescriptors) || files != nil || !strings.Contains(err.Error(), fmt.Sprintf("%d of 20 fit; the soft RLIMIT_NOFILE is %d", room, low.Cur)) {
			return fmt.Errorf("with room for %d: %v, %w", room, files, err)
		}
		if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			return err
		}
		if after := descriptors(); len(after) != len(before) {
			return fmt.Errorf("with room for %d: before %v, after %v", room, before, after)
		}
	}
	files, err := s.GetGroup(id)
	if err != nil || len(files) != len(group) {
		return fmt.Errorf("second try: %d files, %w", len(files), err)
	}
	return nil
}

// nextDescriptor returns the limit with which room more descriptors fit.
func nextDescriptor(room int) uint64 {
	open := descriptors()
	limit := 0
	for free := 0; free < room || open[limit] != ""; limit++ {
		if open[limit] == "" {
			free++
		}
	}
	return uint64(limit)
}

// becomeNobody gives up all privileges and becomes a user who has no other files in
// flight.
func becomeNobody() error {
	if os.Geteuid() != 0 {
		return nil
	}
	id := 20_000 + os.Getpid()%40_000 // these tests may run twice at once
	err := syscall.Setgroups(nil)
	if err == nil {
		err = syscall.Setgid(id)
	}
	if err == nil {
		err = syscall.Setuid(id)
	}
	if err != nil {
		return needError{"becoming another user: " + err.Error()}
	}
	return nil
}

// helpInFlight fills the user's files in flight.
func helpInFlight([]string) error {
	if err := becomeNobody(); err != nil {
		return err
	}
	s, err := New(Options{})
	if err != nil {
		return err
	}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		return err
	}
	for range 20 {
		if _, err = s.AddFDs([]int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			break
		}
	}
	const want = "too many files in flight: the limit for one user is the soft RLIMIT_NOFILE, here 64 (raise it with ulimit -n; CAP_SYS_RESOURCE lifts it): sendmsg: "
	if !errors.Is(err, ErrInFlight) || !errors.Is(err, unix.ETOOMANYREFS) || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("after %d messages: %w", s.Len(), err)
	}
	// Earlier messages can still be got.
	files, err := s.GetGroup(ID(s.Len() - 1))
	if err != nil || len(files) != 10 {
		return fmt.Errorf("get: %d files, %w", len(files), err)
	}
	return nil
}

// helpUnprivileged fills a store without CAP_NET_ADMIN.
func helpUnprivileged([]string) error {
	if err := becomeNobody(); err != nil {
		return err
	}
	// A nested store holds more than the 277 messages that fit into the buffer of
	// any socket.
	nested, err := New(Options{BufferSize: 212992})
	if err != nil {
		return err
	}
	for range 900 {
		if _, err := nested.AddFDs([]int{0}); err != nil {
			return err
		}
	}
	if err := nested.Close(); err != nil {
		return err
	}
	s, err := New(Options{BufferSize: 1 << 30, Layout: Flat})
	if err != nil {
		return err
	}
	max, err := strconv.Atoi(sysctl("net/core/wmem_max"))
	if err != nil {
		return needError{"net.core.wmem_max: " + err.Error()}
	}
	size, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil || size != 2*max {
		return fmt.Errorf("send buffer of %d bytes where wmem_max is %d: %w", size, max, err)
	}
	for err == nil {
		_, err = s.AddFDs([]int{0})
	}
	if errors.Is(err, ErrInFlight) { // a low RLIMIT_NOFILE is reached first
		return nil
	}
	want := fmt.Sprintf("%d messages fill the send buffer of %d bytes (net.core.wmem_max is %d;", s.Len()+1, size, max)
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), want) {
		return fmt.Errorf("after %d messages: %w", s.Len(), err)
	}
	return nil
}

// helpStranger is a process of another user. It knows a store's name, and pid and
// descriptor of the maker, and tries to access the store in every way.
// Args: name, pid, descriptor.
func helpStranger(args []string) error {
	if os.Geteuid() != 0 {
		return needError{"root, to become another user"}
	}
	if err := becomeNobody(); err != nil {
		return err
	}
	pid, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	fd, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	sock, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(sock)
	to := &unix.SockaddrUnix{Name: args[0]}
	rights := unix.UnixRights(2)
	_, openErr := os.Open(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	_, takeErr := unix.PidfdGetfd(pidfd, fd, 0)
	for _, c := range []struct {
		what string
		got  error
		want []unix.Errno
	}{
		{"add by the name", unix.Sendmsg(sock, []byte("0123456789abcdef"), rights, to, unix.MSG_DONTWAIT), []unix.Errno{unix.EPERM}},
		{"connect to the name", unix.Connect(sock, to), []unix.Errno{unix.EPERM}},
		{"replace the name", unix.Bind(sock, to), []unix.Errno{unix.EADDRINUSE}},
		// ENOENT and EPERM: /proc is mounted with hidepid=2 or 1, see proc(5).
		{"open through /proc", openErr, []unix.Errno{unix.EACCES, unix.ENXIO, unix.ENOENT, unix.EPERM}},
		{"take by pidfd_getfd", takeErr, []unix.Errno{unix.EPERM}},
	} {
		if !slices.ContainsFunc(c.want, func(e unix.Errno) bool { return errors.Is(c.got, e) }) {
			return fmt.Errorf("%s: got %w, want one of %v", c.what, c.got, c.want)
		}
	}
	return nil
}
