package execcheck

// Limits of what a program gets, in bytes. See execve(2) and bprm_stack_limits in
// fs/exec.c (since Linux 4.13).
const (
	minTotal  = 128 << 10 // ARG_MAX: whatever the stack's limit
	maxTotal  = 6 << 20   // three quarters of the usual stack
	perString = 8         // for its address
)

// MaxString is how long one string may be, with its NUL, for a page of this size.
func MaxString(page int) int { return 32 * page }

// Budget is what is left of the room for a program's path, arguments and
// environment.
type Budget struct {
	Total int64 // bytes in all
	left  int64
}

// NewBudget gives the room for so many strings under a soft RLIMIT_STACK.
func NewBudget(stack uint64, argc, envc int) Budget {
	total := max(int64(min(stack/4, maxTotal)), minTotal)
	return Budget{total, total - perString*(int64(argc)+int64(envc))}
}

// Add takes the room of a string of n bytes, without its NUL.
func (b *Budget) Add(n int) { b.left -= int64(n) + 1 }

// Take takes the room of strings of n bytes in all, with their NULs.
func (b *Budget) Take(n int64) { b.left -= n }

// Drop gives the room of a string back.
func (b *Budget) Drop(n int) { b.left += int64(n) + 1 }

// Over gives how many bytes too much there are; 0: none.
//
// The addresses alone must leave room, even if the strings had none.
func (b *Budget) Over() int64 { return max(-b.left, 0) }
