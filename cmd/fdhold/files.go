package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"regrow/fdstore"
)

// spec is a file that run puts into the store before the program starts.
type spec struct {
	name string
	open func() (fdstore.File, func() error, error) // returns the file and a function that closes it
}

// specs is a flag that may be repeated. All these flags share one list, so that files
// are in the store in the order of the command line.
type specs struct {
	list  *[]spec
	parse func(string) (spec, error)
}

func (s specs) Set(text string) error {
	one, err := s.parse(text)
	if err != nil {
		return err
	}
	*s.list = append(*s.list, one)
	return nil
}

func (s specs) String() string { return "" }

func (s specs) Type() string { return "SPEC" }

// parseListen reads NETWORK:ADDRESS=NAME, where the address may have colons.
func parseListen(text string) (spec, error) {
	where, name, ok := cutLast(text, "=")
	network, address, ok2 := strings.Cut(where, ":")
	if !ok || !ok2 || name == "" {
		return spec{}, errors.New("write NETWORK:ADDRESS=NAME, for instance tcp::8080=web or unix:/run/app.sock=app")
	}
	s := spec{name: name}
	switch network {
	case "tcp", "tcp4", "tcp6", "unix", "unixpacket":
		s.open = func() (fdstore.File, func() error, error) { return listen(network, address) }
	case "udp", "udp4", "udp6", "unixgram":
		s.open = func() (fdstore.File, func() error, error) { return receive(network, address) }
	default:
		return spec{}, fmt.Errorf("unknown network %q: write tcp, tcp4, tcp6, udp, udp4, udp6, unix, unixpacket or unixgram", network)
	}
	return s, nil
}

func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

// listen makes a listening socket. Closing it does not remove its path.
func listen(network, address string) (fdstore.File, func() error, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, nil, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	file, ok := l.(fdstore.File)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("a %T has no descriptor", l), l.Close())
	}
	return file, l.Close, nil
}

func receive(network, address string) (fdstore.File, func() error, error) {
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, nil, err
	}
	file, ok := c.(fdstore.File)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("a %T has no descriptor", c), c.Close())
	}
	return file, c.Close, nil
}

// parseOpen reads NAME=PATH, where the path may have equals signs. flags are those
// of open(2).
func parseOpen(flags int) func(text string) (spec, error) {
	return func(text string) (spec, error) {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return spec{}, errors.New("write NAME=PATH")
		}
		return spec{name, func() (fdstore.File, func() error, error) {
			f, err := os.OpenFile(path, flags|unix.O_CLOEXEC, 0o666)
			if err != nil {
				return nil, nil, err
			}
			return f, f.Close, nil
		}}, nil
	}
}

// addAll opens the files and puts them into a store.
func addAll(s *fdstore.Store, list []spec) error {
	for _, one := range list {
		file, done, err := one.open()
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		_, err = s.AddNamed(one.name, file)
		if err = errors.Join(err, done()); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}
