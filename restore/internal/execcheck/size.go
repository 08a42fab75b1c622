package execcheck

// Limits of the arguments and environment of a program, in bytes. See execve(2) and
// bprm_stack_limits in fs/exec.c (since Linux 4.13).
const (
	minTotal  = 128 << 10 // ARG_MAX, for any limit of the stack
	maxTotal  = 6 << 20   // three quarters of the default stack
	perString = 8         // its address
)

// MaxString is the largest size of one string, with its NUL, for a page of this size.
func MaxString(page int) int { return 32 * page }

// Budget is the room that is left for a program's path, arguments and environment.
type Budget struct {
	Total int64 // bytes
	left  int64
}

// NewBudget returns the room for that many strings under a soft RLIMIT_STACK.
func NewBudget(stack uint64, argc, envc int) Budget {
	total := max(int64(min(stack/4, maxTotal)), minTotal)
	return Budget{total, total - perString*(int64(argc)+int64(envc))}
}

// Add subtracts a string of n bytes, without its NUL.
func (b *Budget) Add(n int) { b.left -= int64(n) + 1 }

// Take subtracts strings of n bytes in all, with their NULs.
func (b *Budget) Take(n int64) { b.left -= n }

// Drop gives back the room of a string of n bytes, without its NUL.
func (b *Budget) Drop(n int) { b.left += int64(n) + 1 }

// Over returns how many bytes too much there are; 0: none. The addresses alone must also fit,
// even if all strings were empty.
func (b *Budget) Over() int64 { return max(-b.left, 0) }
