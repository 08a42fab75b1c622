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

// Options are the timeouts of a server that ends. The zero value is suitable for most
// servers.
type Options struct {
	// Idle is how long a connection may stay open without a request, counted from
	// the end of its last request or from the time when the server began to end.
	// Default: 5 seconds.
	Idle time.Duration

	// Limit is how long requests may take in total when the server ends; then
	// their connections are closed. Default: no limit.
	Limit time.Duration
}

// defaultIdle is also the time after which net/http closes a new connection without a
// request during Shutdown.
const defaultIdle = 5 * time.Second

// Serve serves on a listener until ctx ends, and then ends the server so that no request
// fails: see the package comment. It returns nil when the server has ended in this way.
// It closes the listener in any case. It replaces srv.Handler and srv.ConnState by
// functions that call the original ones. srv must not serve anything else, before or
// after.
//
// Errors: that of http.Server.Serve, if it returns before ctx ends;
// [context.DeadlineExceeded] if [Options.Limit] has ended requests.
func Serve(ctx context.Context, srv *http.Server, l net.Listener, o Options) error {
	c := watch(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		_ = l.Close() // Serve may have closed it already
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
	waiting map[net.Conn]time.Time // idle since; the zero time: a request is being served
	changed chan struct{}          // buffer of one: a connection has changed
}

// watch keeps track of each connection, and makes every answer close its connection when
// the server is ending.
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
			return fmt.Errorf("handover: closed %d connections with requests after %v: %w", left, o.Limit, ctx.Err())
		}
	}
	if err := srv.Shutdown(ctx); err != nil {
		return fmt.Errorf("handover: shutdown: %w", err)
	}
	return nil
}

// closeIdle closes the connections that have been idle for too long. It returns how many
// connections there are, and the time until the next one must be closed.
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
		_ = conn.Close() // the server then calls ConnState with StateClosed
		c.waiting[conn] = now
	}
	return left, wait
}
