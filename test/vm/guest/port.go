package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"regrow/test/vm/job"
)

// port is the serial line to the host. Its methods are safe for concurrent use.
type port struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func openPort() (*port, error) {
	path := os.Getenv(job.Results)
	if path == "" {
		return nil, fmt.Errorf("the kernel's command line has no %s", job.Results)
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, os.NewSyscallError("ioctl(TCGETS)", err)
	}
	// Raw mode: no echo, no conversion of newlines.
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t); err != nil {
		return nil, os.NewSyscallError("ioctl(TCSETS)", err)
	}
	return &port{enc: json.NewEncoder(f)}, nil
}

// send sends a message to the host.
func (p *port) send(m job.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enc.Encode(m)
}
