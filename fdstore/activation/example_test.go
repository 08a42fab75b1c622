package activation_test

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"regrow/fdstore"
	"regrow/fdstore/activation"
)

// A server gets its listeners from the service manager.
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

// Start a program that expects a service manager.
func ExampleCommand() {
	activation.Init() // at the start of main

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

// The open files of a service survive its restart: the manager keeps one file, the
// root of a store, and the store keeps all others.
func ExampleManager_Store() {
	manager, err := activation.FindManager()
	if err != nil {
		log.Fatal(err) // not started by a service manager
	}
	store, err := before()
	if err == nil && store == nil {
		if store, err = fdstore.New(fdstore.Options{}); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			err = manager.Store(ctx, "store", activation.StoreOptions{}, store)
		}
	}
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("the store has %d messages", store.Len())
}

// before returns the store that the manager has kept, nil at the first start.
func before() (*fdstore.Store, error) {
	files, err := activation.Receive()
	for _, f := range files {
		if f.Name == "store" {
			fd, err := f.Detach()
			if err != nil {
				return nil, err
			}
			store, err := fdstore.Open(fd)
			if err == nil {
				err = store.Adopt() // this process can add to it now
			}
			return store, err
		}
	}
	return nil, err
}
