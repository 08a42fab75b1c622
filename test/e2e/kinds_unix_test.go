package e2e

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mutatedSockets is the tree that the mutations of Unix sockets change.
const mutatedSockets = `version: 1
namespaces: []
files:
  log:  {type: reg, path: log, flags: [O_RDWR, O_CREAT, O_APPEND], offset: 5}
  data: {type: reg, path: data, flags: [O_RDWR, O_CREAT], offset: 7}
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
  pipe: {type: pipe, capacity: 65536, content: abc, flags: {r: [O_NONBLOCK], w: [O_DIRECT]}}
  more: {type: pipe}
  dir:  {type: reg, path: /usr, flags: [O_DIRECTORY]}
  ev:   {type: eventfd, counter: 5, flags: [O_NONBLOCK]}
  sigs: {type: signalfd, signals: [SIGUSR1, SIGTERM]}
  us:   {type: unix, pair: stream, queue: {a: [ab, {data: c, files: [us.a, null]}], b: [{data: "de!", oob: true}, f]}, shutdown: {b: rd}, flags: {a: [O_NONBLOCK]}, owner: {a: [1000, 5]}}
  ud:   {type: unix, pair: dgram, queue: {a: [one, two]}}
  ul:   {type: unix, listen: ul.sock, backlog: 5, mode: 0600}
  uc:   {type: unix, via: ul, bind: uc.sock}
  up:   {type: unix, via: ul, pending: true}
  ub:   {type: unix, socktype: dgram, bind: ub.sock, deleted: true, connect: "@regrow-mutated", queue: [x, {data: y, from: "@regrow-from"}]}
  uo:   {type: unix, pair: dgram, options: {a: {SO_BROADCAST: 0, SO_KEEPALIVE: 0, SO_LINGER: 9s, SO_MARK: 0, SO_OOBINLINE: 0, SO_PASSCRED: 0, SO_PASSSEC: 0, SO_PEEK_OFF: -1, SO_PRIORITY: 0, SO_RCVBUF: 20000, SO_RCVLOWAT: 1, SO_RCVTIMEO: 9s, SO_REUSEADDR: 0, SO_RXQ_OVFL: 0, SO_SNDBUF: 20000, SO_SNDTIMEO: 9s, SO_TIMESTAMP: 0, SO_TIMESTAMPNS: 0, SO_LOCK_FILTER: 0}}, filter: {a: [[6, 0, 0, 65535]]}}
tasks:
  - name: root
    fds: {0: null, 3: log, 4: data, 5: pipe.r, 6: pipe.w, 7: {file: more.r, cloexec: true}, 8: dir, 10: ev, 11: sigs, 12: us.a, 13: us.b, 14: ud.a, 15: ud.b, 16: ul, 17: uc.client, 18: uc.server, 19: up.client, 20: ub, 21: uo.a}
`

func init() {
	for _, m := range append([]mutation{
		{key: "unix.pair", find: `13:\d+: .*file "ud": pair: described "dgram", real "seqpacket"`, restored: []string{"pair: dgram", "pair: seqpacket"}},
		{key: "unix.queue", find: `12:\d+: .*file "us": queue.a\[0\].data: described "abc", real "c"`, change: changes("root", 12, takes(2))},
		{key: "unix.queue", name: "none any more", find: `13:\d+: .*file "ud": queue.a\[1\].data: described "two", real nothing`, change: changes("root", 14, takes(9))},
		{key: "unix.queue", name: "one more", find: `13:\d+: .*file "ud": queue.b\[0\].data: described nothing, real "x"`, change: changes("root", 14, sends("x"))},
		{key: "unix.queue", name: "an empty one more", find: `13:\d+: .*file "ud": queue.b\[0\].data: described nothing, real ""`, change: changes("root", 14, func(fd int) error { return unix.Sendto(fd, nil, 0, nil) })},
		{key: "unix.queue", name: "boundaries", find: `13:\d+: .*file "ud": queue.a\[0\].data: described "one", real "onetwo"`, restored: []string{"[one, two]", "[onetwo]"}},
		{key: "unix.queue", name: "files", find: `12:\d+: .*file "us": queue.a\[0\].files\[1\]: described "null", real "dir"`, restored: []string{"[us.a, null]", "[us.a, dir]"}},
		{key: "unix.queue", name: "a file less", find: `12:\d+: .*file "us": queue.a\[0\].files\[1\]: described "null", real nothing`, restored: []string{"[us.a, null]", "[us.a]"}},
		{key: "unix.queue", name: "out of band", find: `12:\d+: .*file "us": queue.b\[1\].`, restored: []string{`{data: "de!", oob: true}`, `"de!"`}, since: "5.15"},
		{key: "unix.shutdown", find: `12:\d+: .*file "us": shutdown.b: described "rd", real "rdwr"`, change: changes("root", 13, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })},
		{key: "unix.shutdown", name: "which is not said", find: `13:\d+: .*file "ud": shutdown.a: described "none", real "rdwr"`, change: changes("root", 14, func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) })},
		{key: "unix.flags", find: `12:\d+: .*file "us": flags.a: described \[O_NONBLOCK\], real \[\]`, change: changes("root", 12, setFlags(0))},
		{key: "unix.flags", name: "of the other end", find: `13:\d+: .*file "ud": flags.b: described \[\], real \[O_NONBLOCK\]`, change: changes("root", 15, setFlags(unix.O_NONBLOCK))},
		{key: "unix.owner", find: `12:\d+: .*file "us": owner.a\[0\]: described 1000, real 7`, change: changes("root", 12, func(fd int) error { return unix.Fchown(fd, 7, -1) })},
		{key: "unix.owner", name: "the group", find: `12:\d+: .*file "us": owner.a\[1\]: described 5, real 7`, change: changes("root", 12, func(fd int) error { return unix.Fchown(fd, -1, 7) })},

		{key: "unix.listen", find: `14:\d+: .*file "ul": listen: described "ul.sock", real "um.sock"`, restored: []string{"listen: ul.sock", "listen: um.sock"}},
		{key: "unix.backlog", find: `14:\d+: .*file "ul": backlog: described 5, real 7`, change: changes("root", 16, func(fd int) error { return unix.Listen(fd, 7) })},
		{key: "unix.mode", find: `14:\d+: .*file "ul": mode: described 0600, real 0620`, restored: []string{"mode: 0600", "mode: 0620"}},
		{key: "unix.deleted", find: `17:\d+: .*file "ub": deleted: described true, real false`, restored: []string{"deleted: true, ", ""}},
		{key: "unix.via", find: `15:\d+: .*file "uc": via: described "ul", real`, restored: []string{"uc:   {type: unix, via: ul", "uw:   {type: unix, listen: uw.sock}\n  uc:   {type: unix, via: uw", "20: ub", "20: ub, 30: uw", "20: ub,", "20: ub, 30: uw,"}},
		{key: "unix.name", find: `15:\d+: .*file "uc": name: described "ul.sock", real "@regrow-other"`, restored: []string{"uc:   {type: unix, via: ul", "uc:   {type: unix, name: \"@regrow-other\""}},
		{key: "unix.pending", find: `16:\d+: .*file "up": pending: described true, real false`, change: changes("root", 16, func(fd int) error {
			s, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err == nil {
				err = unix.Close(s)
			}
			return err
		})},
		{key: "unix.socktype", find: `14:\d+: .*file "ul": socktype: described "stream", real "seqpacket"`, restored: []string{"backlog: 5", "backlog: 5, socktype: seqpacket"}},
		{key: "unix.bind", find: `15:\d+: .*file "uc": bind: described "uc.sock", real "ud.sock"`, restored: []string{"bind: uc.sock", "bind: ud.sock"}},
		{key: "unix.bind", name: "none", find: `17:\d+: .*file "ub": bind: described "ub.sock", real "@regrow-b"`, restored: []string{"bind: ub.sock, deleted: true", `bind: "@regrow-b"`}},
		{key: "unix.connect", find: `17:\d+: .*file "ub": connect: described "@regrow-mutated", real "@regrow-m2"`, restored: []string{"@regrow-mutated", "@regrow-m2"}},
		{key: "unix.queue", name: "another sender", find: `17:\d+: .*file "ub": queue\[1\].from: described "@regrow-from", real "@regrow-f2"`, restored: []string{"@regrow-from", "@regrow-f2"}},
		{key: "unix.queue", name: "no sender", find: `17:\d+: .*file "ub": queue\[1\].from: described "@regrow-from", real ""`, restored: []string{`{data: y, from: "@regrow-from"}`, "y"}},
	}, optionMutations()...) {
		m.in = mutatedSockets
		mutations = append(mutations, m)
	}
	notMutated["unix.options.SO_PASSPIDFD"] = "Linux 6.5: see TestUnixOptions"
	notMutated["unix.options.SO_PASSRIGHTS"] = "Linux 6.16: see TestUnixOptions"
	notMutated["unix.by"] = "refused so far"
}

// optionMutations change each option of a socket.
func optionMutations() (all []mutation) {
	const line = 18
	for _, o := range []struct {
		name, real string
		nr, value  int
		since      string
	}{
		{"SO_BROADCAST", "1", unix.SO_BROADCAST, 1, ""},
		{"SO_KEEPALIVE", "1", unix.SO_KEEPALIVE, 1, ""},
		{"SO_MARK", "5", unix.SO_MARK, 5, ""},
		{"SO_OOBINLINE", "1", unix.SO_OOBINLINE, 1, ""},
		{"SO_PASSCRED", "1", unix.SO_PASSCRED, 1, ""},
		{"SO_PASSSEC", "1", unix.SO_PASSSEC, 1, ""},
		{"SO_PEEK_OFF", "7", unix.SO_PEEK_OFF, 7, ""},
		{"SO_PRIORITY", "3", unix.SO_PRIORITY, 3, ""},
		{"SO_RCVBUF", "40000", unix.SO_RCVBUF, 20000, ""}, // larger, as SO_RCVTIMEO: nothing rounds that far
		{"SO_RCVLOWAT", "9", unix.SO_RCVLOWAT, 9, ""},
		{"SO_REUSEADDR", "1", unix.SO_REUSEADDR, 1, ""},
		{"SO_RXQ_OVFL", "1", unix.SO_RXQ_OVFL, 1, ""},
		{"SO_SNDBUF", "10000", unix.SO_SNDBUF, 5000, ""},
		{"SO_TIMESTAMP", "1", unix.SO_TIMESTAMP, 1, ""},
		{"SO_TIMESTAMPNS", "1", unix.SO_TIMESTAMPNS, 1, ""},
		{"SO_LOCK_FILTER", "1", unix.SO_LOCK_FILTER, 1, ""},
	} {
		all = append(all, mutation{
			key: "unix.options." + o.name, since: o.since, find: fmt.Sprintf(`%d:\d+: .*file "uo": options.a.%s: described -?\d+, real %s`, line, o.name, o.real),
			change: changes("root", 21, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.nr, o.value) }),
		})
	}
	for _, o := range []struct {
		name        string
		nr, seconds int
	}{{"SO_RCVTIMEO", unix.SO_RCVTIMEO, 10}, {"SO_SNDTIMEO", unix.SO_SNDTIMEO, 2}} {
		all = append(all, mutation{
			key: "unix.options." + o.name, find: fmt.Sprintf(`%d:\d+: .*file "uo": options.a.%s: described 9s, real %ds`, line, o.name, o.seconds),
			change: changes("root", 21, func(fd int) error {
				return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, o.nr, &unix.Timeval{Sec: int64(o.seconds)})
			}),
		})
	}
	return append(all, mutation{
		key: "unix.options.SO_LINGER", find: fmt.Sprintf(`%d:\d+: .*file "uo": options.a.SO_LINGER: described 9s, real 2s`, line),
		change: changes("root", 21, func(fd int) error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 2})
		}),
	}, mutation{
		key: "unix.filter", find: fmt.Sprintf(`%d:\d+: .*file "uo": filter.a\[0\]\[3\]: described 65535, real nothing`, line),
		change: changes("root", 21, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }),
	})
}
