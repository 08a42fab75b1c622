// Command mainthread restores a tree on the main thread of the process and ends it.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"regrow/images"
	"regrow/restore"
)

func init() { runtime.LockOSThread() } // main runs on the main thread

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	tree, err := images.Load(path)
	if err != nil {
		return err
	}
	host, err := restore.ThisHost()
	if err != nil {
		return err
	}
	plan, err := restore.NewPlan(tree, host, restore.PlanOptions{})
	if err != nil {
		return err
	}
	live, err := restore.Start(context.Background(), plan, restore.Options{Alone: true})
	if err != nil {
		return err
	}
	live.Abort()
	return nil
}
