//go:build linux

package fdstore_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"regrow/fdstore"
)

// A file is stored once and can be got any number of times: always the same open file,
// with one offset.
func Example() {
	store, err := fdstore.New(fdstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	dir, err := os.MkdirTemp("", "fdstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := os.Create(filepath.Join(dir, "greeting"))
	if err != nil {
		log.Fatal(err)
	}
	id, err := store.Add(file)
	if err != nil {
		log.Fatal(err)
	}
	file.Close() // the store keeps it open

	for _, word := range []string{"hello, ", "world"} {
		f, err := store.Get(id)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(f, word)
		f.Close()
	}

	f, err := store.Get(id)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
	fmt.Println(string(text), err)
	// Output: hello, world <nil>
}

// Files that are used together are stored in one message.
func ExampleStore_AddGroup() {
	store, err := fdstore.New(fdstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	id, err := store.AddGroup(r, w)
	if err != nil {
		log.Fatal(err)
	}
	r.Close()
	w.Close()

	_, err = store.Get(id)
	fmt.Println(errors.Is(err, fdstore.ErrGroup))

	files, err := store.GetGroup(id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(files[1], "through the pipe")
	files[1].Close()
	// The store still has the write end open: close it to end the stream.
	store.Close()
	text, err := io.ReadAll(files[0])
	files[0].Close()
	fmt.Println(string(text), err)
	// Output:
	// true
	// through the pipe <nil>
}

func ExampleStore_Seal() {
	store, err := fdstore.New(fdstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Add(os.Stdin); err != nil {
		log.Fatal(err)
	}
	if err := store.Seal(); err != nil {
		log.Fatal(err)
	}
	_, err = store.Add(os.Stdin)
	fmt.Println(err)
	fmt.Println(errors.Is(err, fdstore.ErrSealed), store.Len())
	// Output:
	// fdstore: add message 1: store is sealed
	// true 1
}

// Workers get a file by name, each its own descriptor of the same open file.
func ExampleStore_GetNamed() {
	store, err := fdstore.New(fdstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if _, err := store.AddNamed("results", w); err != nil {
		log.Fatal(err)
	}
	w.Close()

	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			results, err := store.GetNamed("results")
			if err != nil {
				log.Fatal(err)
			}
			defer results.Close()
			fmt.Fprintln(results, "done")
		})
	}
	workers.Wait()
	store.Close() // closes the last write end
	text, err := io.ReadAll(r)
	fmt.Printf("%q %v\n", text, err)
	// Output: "done\ndone\ndone\ndone\n" <nil>
}

// A program is started with a store and gets files by name. The name is all that both
// programs need to agree on.
func ExampleStore_AddToCmd() {
	if os.Getenv("EXAMPLE_CHILD") != "" {
		child()
	}
	store, err := fdstore.New(fdstore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	if _, err := store.AddNamed("output", os.Stdout); err != nil {
		log.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^ExampleStore_AddToCmd$")
	cmd.Env = append(os.Environ(), "EXAMPLE_CHILD=1")
	if err := store.AddToCmd(cmd); err != nil {
		log.Fatal(err)
	}
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
	// Output: hello from the child
}

func child() {
	store, err := fdstore.Inherited()
	if err != nil {
		log.Fatal(err)
	}
	out, err := store.GetNamed("output")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(out, "hello from the child")
	os.Exit(0)
}

// A program without this package needs these peek offsets.
func ExampleLayout_Place() {
	for _, id := range []fdstore.ID{0, 3, 32, 100_000} {
		p := fdstore.Nested.Place(id, 1)
		fmt.Printf("message %d: ", id)
		for _, w := range p.Way[:p.Depth] {
			fmt.Printf("socket at %d, ", w.Offset())
		}
		fmt.Printf("files at %d\n", p.Word.Offset())
	}
	// Output:
	// message 0: files at 16
	// message 3: files at 64
	// message 32: socket at 528, files at 0
	// message 100000: socket at 1408, socket at 928, files at 0
}
