// Command handover is a web server that is replaced by its next version while clients
// send requests: no request fails.
//
//	go build -o hello ./examples/handover && ./hello 127.0.0.1:8080 &
//	curl http://127.0.0.1:8080/          # hello from pid 4711
//	go build -o hello ./examples/handover # the next version
//	kill -HUP 4711                        # it takes over, pid 4711 ends
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"regrow/fdstore/handover"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatalf("usage: %s ADDRESS", os.Args[0])
	}
	if err := serve(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func serve(address string) error {
	process, err := handover.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = process.Close() }()
	// The listener of the previous version, or a new one.
	listener, err := process.Listen("web", "tcp", address)
	if err != nil {
		return err
	}

	ctx, end := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer end()
	replace := make(chan os.Signal, 1)
	signal.Notify(replace, syscall.SIGHUP)
	go func() {
		for range replace {
			if err := process.Next(ctx, nextVersion()); err != nil {
				log.Print(err) // this version continues to serve
				continue
			}
			end()
		}
	}()

	if err := process.Ready(); err != nil {
		return err
	}
	log.Printf("pid %d serves http://%s/", os.Getpid(), listener.Addr())
	return handover.Serve(ctx, &http.Server{Handler: http.HandlerFunc(hello)}, listener, handover.Options{})
}

// nextVersion runs the program that is now at the path of this one.
func nextVersion() *exec.Cmd {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

func hello(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintf(w, "hello from pid %d\n", os.Getpid())
}
