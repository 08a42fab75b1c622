package assign

import (
	"golang.org/x/sys/unix"

	"regrow/restore/internal/plan"
)

// ToDefault gives the signals whose action the root must set to the default:
// CLONE_CLEAR_SIGHAND leaves those that are ignored, clone(2) leaves all.
func ToDefault(p *plan.Plan) uint64 {
	const cannot = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
	if p.Host.OldClone {
		return ^uint64(cannot)
	}
	return p.Host.Ignored &^ cannot
}
