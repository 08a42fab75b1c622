package live

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
)

// fuse is a file system with one file, whose server answers until it is silent. See
// include/uapi/linux/fuse.h.
type fuse struct {
	dev    int
	silent atomic.Bool
	asked  []uint32 // opcodes since then
	mu     sync.Mutex
	end    sync.Once
}

// mountFuse mounts it, for this thread and what it starts.
func mountFuse(t *testing.T, dir string) *fuse {
	t.Helper()
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	f := &fuse{dev: dev}
	t.Cleanup(f.abort)
	options := "fd=" + strconv.Itoa(dev) + ",rootmode=40000,user_id=0,group_id=0"
	if err := unix.Mount("silent", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	t.Cleanup(func() {
		f.abort()
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	})
	go f.serve()
	return f
}

// abort ends the connection: whoever waits for the server gets an error.
func (f *fuse) abort() { f.end.Do(func() { _ = unix.Close(f.dev) }) }

func (f *fuse) serve() {
	const (
		lookup, getattr, open, initialize, forget, batchForget = 1, 3, 14, 26, 2, 42

		inHeader, attrSize = 40, 88
	)
	attr := func(mode uint32) []byte {
		a := make([]byte, attrSize)
		binary.NativeEndian.PutUint64(a, 2) // ino
		binary.NativeEndian.PutUint32(a[60:], mode)
		binary.NativeEndian.PutUint32(a[64:], 1) // nlink
		return a
	}
	buf := make([]byte, 1<<17)
	for {
		n, err := unix.Read(f.dev, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n < inHeader {
			return
		}
		op, unique, node := binary.NativeEndian.Uint32(buf[4:]), binary.NativeEndian.Uint64(buf[8:]), binary.NativeEndian.Uint64(buf[16:])
		if op == forget || op == batchForget {
			continue
		}
		if f.silent.Load() {
			f.mu.Lock()
			f.asked = append(f.asked, op)
			f.mu.Unlock()
			continue
		}
		var body []byte
		switch op {
		case initialize:
			body = make([]byte, 64)
			for i, v := range []uint32{7, 31} {
				binary.NativeEndian.PutUint32(body[4*i:], v)
			}
			binary.NativeEndian.PutUint32(body[20:], 4096) // max_write
		case lookup:
			body = append(make([]byte, 40), attr(unix.S_IFREG|0o644)...)
			binary.NativeEndian.PutUint64(body, 2) // node
		case getattr:
			mode := uint32(unix.S_IFREG | 0o644)
			if node == 1 {
				mode = unix.S_IFDIR | 0o755
			}
			body = append(make([]byte, 16), attr(mode)...)
		case open:
			body = make([]byte, 16)
		}
		out := make([]byte, 16, 16+len(body))
		binary.NativeEndian.PutUint32(out, uint32(16+len(body)))
		binary.NativeEndian.PutUint64(out[8:], unique)
		_, _ = unix.Write(f.dev, append(out, body...))
	}
}

// TestLookAsksNoServer looks at a program that has a file of a silent server open: it is
// read, and the server is asked for nothing.
func TestLookAsksNoServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a file system: needs root")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // for good: the mount namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		t.Skipf("no mount namespace here: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	server := mountFuse(t, dir)
	watchdog := time.AfterFunc(time.Minute, func() {
		t.Error("it waits for the server")
		server.abort()
	})
	defer watchdog.Stop()
	fd, err := unix.Open(dir+"/file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "file")
	cmd := child(t, []*os.File{f, f}, "sleep", "1000")
	t.Cleanup(server.abort) // before the program is ended, which closes the file
	server.silent.Store(true)
	seen := lookAt(t, cmd.Process.Pid, Options{})
	i := slices.IndexFunc(seen.Tree.Files, func(f *tasktree.OpenFile) bool { return f.Name == "file" })
	if i < 0 || len(seen.Unseen) > 0 {
		t.Fatalf("it is not seen: %+v", seen.Unseen)
	}
	if r := seen.Tree.Files[i].Spec.(*kind.Reg); r.Path.Value != dir+"/file" || len(seen.Tree.Files[i].Uses) != 2 {
		t.Errorf("%+v", seen.Tree.Files[i])
	}
	r := resolver{}
	if same, why := r.leads(dir+"/file", dir+"/other"); same || why == "" {
		t.Errorf("other: %v %q", same, why)
	}
	server.mu.Lock()
	if len(server.asked) > 0 {
		t.Errorf("the server was asked: opcodes %v", server.asked)
	}
	server.mu.Unlock()
	server.abort()
	_ = f.Close()
}
