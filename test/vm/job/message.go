package job

// Kind is the type of a Message.
type Kind string

// The kinds, in the order in which they come:
//
//	hello  { start list { line } end }  done
//	  alive in between, at least every AliveSeconds
const (
	Hello Kind = "hello" // Text: the kernel's release
	Start Kind = "start" // Run begins
	List  Kind = "list"  // Tests: what the binary of Run has and is to run
	Line  Kind = "line"  // Text: a line of the binary's output
	End   Kind = "end"   // Status: of the binary; Left: what it left behind
	Alive Kind = "alive" // the guest lives
	Error Kind = "error" // Text: why the guest cannot go on
	Done  Kind = "done"  // all runs were done; power-off follows
)

// AliveSeconds is the longest time between two messages of a running guest, by its own
// clock.
const AliveSeconds = 5

// Message is one line from the guest.
type Message struct {
	Kind   Kind     `json:"kind"`
	Run    string   `json:"run,omitempty"`
	Text   string   `json:"text,omitempty"`
	Tests  []string `json:"tests,omitempty"`
	Status int      `json:"status,omitempty"`
	Left   []string `json:"left,omitempty"`
}
