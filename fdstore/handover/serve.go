package handover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how long a server that ends waits. The zero value is right for most.
type Options struct {
	// Idle is how long a connection may stay without a request before it is
	// closed, counted from the end of the last one or from the time when the
	// server began to end. Default: 5 seconds.
	Idle time.Duration

	// Limit is how long requests may take altogether when the server ends; then
	// they are cut off. Default: no limit.
	Limit time.Duration
}

// defaultIdle is what net/http gives a new connection that does not ask, too.
const defaultIdle = 5 * time.Second

// Serve serves on a listener until ctx ends, and then lets the server end so that
// no request fails: see the package comment. It returns nil when the server has
// ended so, and closes the listener in any case. It uses srv.Handler and
// srv.ConnState and calls them in its turn; srv serves nothing else, neither
// before nor after.
//
// Errors: what http.Server.Serve says, if it ends before ctx does;
// [context.DeadlineExceeded] if requests were cut off by [Options.Limit].
func Serve(ctx context.Context, srv *http.Server, l net.Listener, o Options) error {
	c := watch(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		_ = l.Close() // it may be: Serve closes it, too
		return fmt.Errorf("handover: serve: %w", err)
	case <-ctx.Done():
	}
	c.ending.Store(true)
	_ = l.Close() // the socket lives on in the store
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("handover: serve: %w", err)
	}
	return c.drain(context.WithoutCancel(ctx), srv, o)
}

// conns are the connections of a server.
type conns struct {
	ending  atomic.Bool
	mu      sync.Mutex
	waiting map[net.Conn]time.Time // since when; the zero time: it is being served
	changed chan struct{}          // has room for one: something has changed since
}

// watch lets c know what becomes of each connection, and every answer say that it is
// the last one as soon as the server ends.
func watch(srv *http.Server) *conns {
	c := &conns{waiting: map[net.Conn]time.Time{}, changed: make(chan struct{}, 1)}
	next, handler := srv.ConnState, srv.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	srv.ConnState = func(conn net.Conn, state http.ConnState) {
		c.note(conn, state)
		if next != nil {
			next(conn, state)
		}
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.ending.Load() {
			w.Header().Set("Connection", "close") // over HTTP/2 it sends GOAWAY
		}
		handler.ServeHTTP(w, r)
	})
	return c
}

func (c *conns) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	switch state {
	case http.StateNew, http.StateIdle:
		c.waiting[conn] = time.Now()
	case http.StateActive:
		c.waiting[conn] = time.Time{}
	case http.StateHijacked, http.StateClosed:
		delete(c.waiting, conn)
	}
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// drain returns when no connection is left.
func (c *conns) drain(ctx context.Context, srv *http.Server, o Options) error {
	if o.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Limit)
		defer cancel()
	}
	idle, begin := cmp.Or(o.Idle, defaultIdle), time.Now()
	for {
		left, wait := c.closeIdle(begin, idle)
		if left == 0 {
			break
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			_ = srv.Close()
			return fmt.Errorf("handover: %d connections were cut off after %v: %w", left, o.Limit, ctx.Err())
		}
	}
	if err := srv.Shutdown(ctx); err != nil {
		return fmt.Errorf("handover: shutdown: %w", err)
	}
	return nil
}

// closeIdle closes the connections that have waited long enough for a request. It
// tells how many there are besides and how long it takes until the next is due.
func (c *conns) closeIdle(begin time.Time, idle time.Duration) (left int, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	wait = idle
	for conn, since := range c.waiting {
		left++
		if since.IsZero() {
			continue
		}
		if since.Before(begin) {
			since = begin
		}
		if rest := idle - now.Sub(since); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		_ = conn.Close() // the server notes it, by StateClosed
		c.waiting[conn] = now
	}
	return left, wait
}
