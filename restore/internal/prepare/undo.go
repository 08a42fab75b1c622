package prepare

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/safepath"
)

// Undo has the files that a restore has made, and removes them if it fails:
//
//	          ┌──note──┐  a file was made
//	          ▼        │
//	under way ┴────────┘──GiveUp──▶ given up: the files are gone, and none is made
//
// Safe for several goroutines: an op that has begun before the end may come back after it.
type Undo struct {
	log logrus.FieldLogger

	givenUp atomic.Bool // read without the lock, which a file server may hold up

	mu   sync.Mutex
	made []madeFile
}

// madeFile is a file that this restore has made.
type madeFile struct {
	path     string
	dev, ino uint64
}

// NewUndo gives an Undo without files. What cannot be removed goes to log.
func NewUndo(log logrus.FieldLogger) *Undo { return &Undo{log: log} }

// GivenUp reports whether the restore was given up, so that nothing may be made any more.
func (u *Undo) GivenUp() bool { return u.givenUp.Load() }

// Stop keeps further ops from beginning; what is still made from now on is removed at once.
// The files that were made stay until [Undo.GiveUp].
func (u *Undo) Stop() { u.givenUp.Store(true) }

// GiveUp removes what was made, and keeps an op that is still under way from making more.
func (u *Undo) GiveUp() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.givenUp.Store(true)
	for _, m := range slices.Backward(u.made) { // a folder after what lies in it
		u.remove(m)
	}
	u.made = nil
}

// note records that a file was made, or removes the file if the restore was given up
// meanwhile.
func (u *Undo) note(m madeFile) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.givenUp.Load() {
		u.remove(m)
		return plan.ErrCanceled
	}
	u.made = append(u.made, m)
	return nil
}

// noteThere notes what a step has just made at a path.
func (u *Undo) noteThere(path string) error {
	var st unix.Stat_t
	if err := safepath.IgnoringEINTR(func() error { return unix.Lstat(path, &st) }); err != nil {
		return errors.Join(err, unlink(path))
	}
	return u.note(madeFile{path, st.Dev, st.Ino})
}

// unlink removes a file, or an empty folder.
func unlink(path string) error {
	err := unix.Unlink(path)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) { // a folder, on Linux and by POSIX
		return unix.Rmdir(path)
	}
	return err
}

// remove removes a file, if it is still what was made.
func (u *Undo) remove(m madeFile) {
	var st unix.Stat_t
	if safepath.IgnoringEINTR(func() error { return unix.Lstat(m.path, &st) }) != nil || st.Dev != m.dev || st.Ino != m.ino {
		return
	}
	if err := safepath.IgnoringEINTR(func() error { return unlink(m.path) }); err != nil {
		u.log.WithField("path", m.path).Warnf("cannot remove the file that this restore made: %v", err)
	}
}
