package restoretest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"regrow/images"
	"regrow/restore"
)

// orderEnv makes the test binary the second process, which restores a tree.
const orderEnv = "REGROW_RESTORETEST"

// order is what the second process is told.
type order struct {
	Description string
	Keys        []string // of the descriptors from firstExtra on
	Strategy    restore.Strategy
	Naive       bool
	ServiceFD   *int

	files []*os.File
}

// firstExtra is the descriptor that the first of exec.Cmd.ExtraFiles becomes.
const firstExtra = 3

func init() {
	restore.Init() // the second process may start a third one, which keeps open files
	text := os.Getenv(orderEnv)
	if text == "" {
		return
	}
	if err := second(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is the main of the second process
	}
	os.Exit(0) //nolint:forbidigo // see above
}

// second restores a tree, reports it on standard output, and ends it when standard input
// ends: then the test has closed it, or is gone.
func second(text string) error {
	if err := os.Unsetenv(orderEnv); err != nil { // tasks have our environment
		return err
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	described, err := images.Decode(strings.NewReader(o.Description), "description", "")
	if err != nil {
		return err
	}
	host, err := restore.ThisHost()
	if err != nil {
		return err
	}
	options := restore.PlanOptions{WithoutStdin: true, Strategy: o.Strategy, Naive: o.Naive, ServiceFD: o.ServiceFD, Inherit: map[string]int{}}
	for i, key := range o.Keys {
		options.Inherit[key] = firstExtra + i
	}
	plan, err := restore.NewPlan(described, host, options)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(gone)
		cancel()
	}()
	tree, err := restore.Start(ctx, plan, restore.Options{Alone: true})
	if err != nil {
		return err
	}
	defer tree.End()
	if err := json.NewEncoder(os.Stdout).Encode(tree.Report()); err != nil {
		return err
	}
	<-gone
	return nil
}
