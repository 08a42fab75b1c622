// Package handover replaces a server by its next version while clients keep
// asking, and no request fails. The listening sockets lie in an fdstore.Store that
// each generation passes to the next one.
//
//	generation 1   Listen ─ Ready ─ Serve ──────── Next ───────────┐ drain ─ end
//	                  │                             │ starts        ▲ Ready
//	store             └─ socket ──────────────────┐ ▼               │
//	generation 2                                  └─ Begin ─ Listen ┴ Serve ────────────
//
// Both accept from one queue for a moment, and while neither does the kernel keeps
// connections for the next that does. A generation that does not get ready is
// ended, and the old one serves on.
//
// # How no request fails
//
// A server of package net/http drops a request that it reads after Shutdown has
// begun, and Shutdown closes the connections that are idle: a client that writes
// its next request at that moment gets an error, which for a POST nobody may hide
// by asking again. So [Serve] does it in another order:
//
//  1. It closes the listener and waits until http.Server.Serve has returned: every
//     connection that was accepted is known now.
//  2. Each request still gets its answer, with "Connection: close": the client knows
//     that the connection ends, and opens its next one to the new generation.
//  3. When no connection is left it calls Shutdown. One that a client leaves idle, or
//     on which it never asks, is closed after [Options.Idle], as every server does
//     after its IdleTimeout.
//
// # What stays with the caller
//
// When to begin (a signal, say), and what to do with connections that were hijacked
// (websockets): net/http does not count them, and they end with the process. A
// service manager that watches the pid of its service must be told of the new one
// (MAINPID= of sd_notify(3), see package activation).
package handover
