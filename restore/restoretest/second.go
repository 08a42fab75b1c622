package restoretest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore"
)

// secondEnv makes a test binary the second process, which restores a tree.
const secondEnv = "REGROW_RESTORETEST"

// order is the message to the second process.
type order struct {
	Description string
	Keys        []string // of the descriptors from firstExtra on
	Strategy    restore.Strategy
	Naive       bool
	ServiceFD   *int

	files []*os.File
}

// answer is the message of the second process.
type answer struct {
	Report restore.Report
	Unseen []string // of the report
	Error  string   // "" if the tree is restored
}

// answerFD is the descriptor for the answer. The files of the test follow it.
const (
	answerFD   = 3
	firstExtra = 4
)

func init() {
	restore.Init() // the second process may start a third one, the service
	if os.Getenv(secondEnv) == "" {
		return
	}
	if err := second(); err != nil {
		os.Exit(1) //nolint:forbidigo // this is the main of the second process
	}
	os.Exit(0) //nolint:forbidigo // see above
}

// second restores a tree, answers, and ends the tree when standard input ends: then the test
// has closed it, or has died. Signals from a terminal or a shell do not end it earlier.
func second() error {
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE)
	if err := os.Unsetenv(secondEnv); err != nil { // tasks get this environment
		return err
	}
	unix.CloseOnExec(answerFD)
	out := os.NewFile(answerFD, "answer")
	in := json.NewDecoder(os.Stdin)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	gone := make(chan struct{})
	tree, err := restored(ctx, in, func() {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(gone)
			cancel()
		}()
	})
	said := answer{}
	if err != nil {
		said.Error = err.Error()
	} else {
		defer tree.End()
		said.Report = tree.Report()
		said.Unseen = said.Report.Unseen
	}
	if sayErr := json.NewEncoder(out).Encode(said); err != nil || sayErr != nil {
		return errors.Join(err, sayErr)
	}
	<-gone
	return out.Close()
}

// restored carries an order out. It calls told when it has read the order.
func restored(ctx context.Context, in *json.Decoder, told func()) (*restore.Tree, error) {
	var o order
	if err := in.Decode(&o); err != nil {
		return nil, err
	}
	told()
	described, err := images.Decode(strings.NewReader(o.Description), "description", "")
	if err != nil {
		return nil, err
	}
	host, err := restore.ThisHost()
	if err != nil {
		return nil, err
	}
	options := restore.PlanOptions{WithoutStdin: true, Strategy: o.Strategy, Naive: o.Naive, ServiceFD: o.ServiceFD, Inherit: map[string]int{}}
	for i, key := range o.Keys {
		options.Inherit[key] = firstExtra + i
	}
	plan, err := restore.NewPlan(described, host, options)
	if err != nil {
		return nil, err
	}
	return restore.Start(ctx, plan, restore.Options{Alone: true})
}
