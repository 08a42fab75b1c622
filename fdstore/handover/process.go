package handover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"regrow/fdstore"
)

// EnvReady is the environment variable that names the descriptor on which a generation
// reports to the previous one that it is ready.
const EnvReady = "FDSTORE_HANDOVER_READY"

// Errors of this package, matched with [errors.Is].
var (
	// ErrNotReady means that the next generation ended, or was ended at a timeout,
	// before it called [Process.Ready].
	ErrNotReady = errors.New("the next generation did not get ready")
	// ErrHandedOver means that there is a next generation already.
	ErrHandedOver = errors.New("a next generation serves already")
	// ErrAddress means that the listener of this name has another address. Use
	// another name for a listener with another address.
	ErrAddress = errors.New("the listener has another address")
)

// Process is this process as one generation of a server. Its methods may be called
// by several goroutines.
type Process struct {
	mu    sync.Mutex
	store *fdstore.Store
	ready *os.File // nil: no previous generation waits

	next   sync.Mutex // held until a next generation is ready
	handed bool
}

// Begin opens the store of the previous generation. If there is no previous generation,
// it makes a store. The caller must [Process.Close] the Process.
//
// Errors: those of fdstore.Inherited and fdstore.New.
func Begin() (*Process, error) {
	p := &Process{}
	var err error
	if p.store, err = fdstore.Inherited(); errors.Is(err, fs.ErrNotExist) {
		p.store, err = fdstore.New(fdstore.Options{})
	}
	if err == nil {
		p.ready, err = takeReady()
	}
	if err != nil {
		if p.store != nil {
			_ = p.store.Close()
		}
		return nil, fmt.Errorf("handover: %w", err)
	}
	return p, nil
}

// Store returns the store. It belongs to the Process. To add to it, first call
// fdstore.Store.Adopt. [Process.Next] resigns as the writer.
func (p *Process) Store() *fdstore.Store {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.store
}

// Listen returns the listener with this name: that of the previous generation, or a new
// one, which it adds to the store. network and address are those of [net.Listen]. The
// caller closes the listener; the socket stays open in the store.
//
// Errors: [ErrAddress], those of [net.Listen], and those of fdstore.Store.Listener,
// fdstore.Store.Adopt and fdstore.Store.AddListener.
func (p *Process) Listen(name, network, address string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := p.store.Listener(name)
	if err == nil {
		if err = sameAddress(l.Addr(), network, address); err != nil {
			_ = l.Close()
			l = nil
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		l, err = p.newListener(name, network, address)
	}
	if err != nil {
		return nil, fmt.Errorf("handover: listener %q: %w", name, err)
	}
	return l, nil
}

// newListener makes a listener and adds it to the store. Preconditions: p.mu is held.
func (p *Process) newListener(name, network, address string) (net.Listener, error) {
	// The previous generation has resigned, or has ended.
	if err := p.store.Adopt(); err != nil {
		return nil, err
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	if _, err = p.store.AddListener(name, l); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// sameAddress compares the address of a listener with the requested one. A requested
// port 0 or an unspecified address matches any.
func sameAddress(has net.Addr, network, address string) error {
	same := true
	switch has := has.(type) {
	case *net.TCPAddr:
		want, err := net.ResolveTCPAddr(network, address)
		if err != nil {
			return err
		}
		anyIP := len(want.IP) == 0 || want.IP.IsUnspecified()
		same = (want.Port == 0 || want.Port == has.Port) && (anyIP && has.IP.IsUnspecified() || want.IP.Equal(has.IP))
	case *net.UnixAddr:
		same = has.Name == address
	}
	if !same {
		return fmt.Errorf("%w: %s, not %s", ErrAddress, has, address)
	}
	return nil
}

// Ready reports to the previous generation that this one is about to serve. Call it when
// nothing can fail any more, right before [Serve]. Without a previous generation, and
// when called again, it does nothing.
//
// Errors: EPIPE if the previous generation no longer waits: it continues to serve, and
// this process should end.
func (p *Process) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready == nil {
		return nil
	}
	_, err := p.ready.Write([]byte{1})
	_ = p.ready.Close()
	p.ready = nil
	if err != nil {
		return fmt.Errorf("handover: report to the previous generation: %w", err)
	}
	return nil
}

// Next starts the next generation and returns when it is ready. Then this generation
// should end, by ending the context of [Serve]. cmd is a program that calls [Begin] and
// [Process.Ready], for example exec.Command(os.Args[0], os.Args[1:]...), which runs the
// program that is at that path now. It must outlive this process: do not use
// CommandContext, and use only files as its output. Next adds the store and a pipe to its
// ExtraFiles and its Env.
//
// Errors: [ErrHandedOver]; [ErrNotReady] with the reason, which is the error of ctx if
// that ended: the started process has ended, and this one should continue to serve; or
// the error of cmd.Start.
func (p *Process) Next(ctx context.Context, cmd *exec.Cmd) error {
	p.next.Lock()
	defer p.next.Unlock()
	if p.handed {
		return fmt.Errorf("handover: %w", ErrHandedOver)
	}
	r, err := p.start(cmd)
	if err != nil {
		return fmt.Errorf("handover: start the next generation: %w", err)
	}
	defer r.Close()
	if err := awaitReady(ctx, r); err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("handover: pid %d: %w: %w (%s)", cmd.Process.Pid, ErrNotReady, err, endOf(cmd))
	}
	p.handed = true
	go func() { _ = cmd.Wait() }() // reaps it if it ends before this process
	return nil
}

// firstExtra is the descriptor that the first of [exec.Cmd.ExtraFiles] becomes.
const firstExtra = 3

// start starts the next generation and returns the pipe on which it reports.
func (p *Process) start(cmd *exec.Cmd) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p.mu.Lock()
	defer p.mu.Unlock() // Close must not close the lent descriptor before the child has it
	// The next generation may add to the store at once. If it does not get ready, its
	// death releases the writer's lock.
	if err = errors.Join(p.store.Resign(), p.store.AddToCmd(cmd)); err == nil {
		cmd.Env = append(cmd.Env, EnvReady+"="+strconv.Itoa(firstExtra+len(cmd.ExtraFiles))) // AddToCmd has set Env
		cmd.ExtraFiles = append(cmd.ExtraFiles, w)
		err = cmd.Start()
	}
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// awaitReady returns nil when the next generation reports that it is ready.
func awaitReady(ctx context.Context, r *os.File) error {
	defer context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })()
	_, err := r.Read(make([]byte, 1))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ctx.Err()
	}
	return errors.New("it has closed its end of the pipe")
}

// endOf waits for a process that is ending and returns how it ended.
func endOf(cmd *exec.Cmd) string {
	if err := cmd.Wait(); cmd.ProcessState == nil {
		return err.Error()
	}
	return cmd.ProcessState.String()
}

// Close closes the store. Its files stay open if there is a next generation.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready != nil {
		_ = p.ready.Close()
		p.ready = nil
	}
	return p.store.Close()
}
