// Package handover replaces a server by its next version while clients send requests,
// and no request fails. The listening sockets are in an fdstore.Store, which each
// generation passes to the next one.
//
//	generation 1   Listen ─ Ready ─ Serve ──────── Next ───────────┐ drain ─ end
//	                  │                             │ starts        ▲ Ready
//	store             └─ socket ──────────────────┐ ▼               │
//	generation 2                                  └─ Begin ─ Listen ┴ Serve ────────────
//
// For a moment both generations accept connections from one queue. While neither accepts,
// connections wait in the queue. If the next generation does not get ready, it is ended,
// and the old one continues to serve.
//
// # Why no request fails
//
// A server of package net/http drops a request that it reads after Shutdown has
// begun, and Shutdown closes idle connections. If a client writes its next request at
// that moment, it gets an error, and a client must not repeat a POST by itself. So
// [Serve] uses another order:
//
//  1. It closes the listener and waits until http.Server.Serve has returned. Then it
//     knows every accepted connection.
//  2. Each request is still answered, with "Connection: close". So the client knows
//     that the connection ends, and opens its next one to the new generation.
//  3. When no connection is left, it calls Shutdown. A connection without a request is
//     closed after [Options.Idle], as any server does after its IdleTimeout.
//
// # Responsibilities of the caller
//
// The caller decides when to begin (at a signal, for example), and what to do with
// hijacked connections (websockets): net/http does not count them, and they end with the
// process. If a service manager watches the pid of the service, notify it of the new pid
// (MAINPID= of sd_notify(3), see package activation).
package handover
