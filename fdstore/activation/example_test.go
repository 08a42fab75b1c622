package activation_test

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"regrow/fdstore/activation"
)

// A server takes its listeners from the service manager.
func ExampleReceive() {
	files, err := activation.Receive()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range files {
		l, err := f.Listener()
		if err != nil {
			log.Fatal(err)
		}
		log.Printf("%s: %v", f.Name, http.Serve(l, nil))
	}
}

// A program that expects a service manager is started without one.
func ExampleCommand() {
	activation.Init() // first of all in main

	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command("some-server", "--from-systemd")
	cmd.Stderr = os.Stderr
	if err := activation.Command(cmd, activation.File{Name: "http", File: f}); err != nil {
		log.Fatal(err)
	}
	log.Print(cmd.Run())
}

// State survives a restart of the service in a file that the manager keeps. In
// place of many files give it one: the root of an fdstore.Store.
func ExampleManager_Store() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	manager, err := activation.FindManager()
	if err != nil {
		log.Fatal(err) // not started by one
	}
	state, err := os.CreateTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	if err := manager.Store(ctx, "state", activation.StoreOptions{}, state); err != nil {
		log.Fatal(err)
	}
	// After a restart activation.Receive gives it back, under its name.
}
