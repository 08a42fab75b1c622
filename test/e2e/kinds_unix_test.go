package e2e

import (
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
tasks:
  - name: root
    fds: {0: null, 3: log, 4: data, 5: pipe.r, 6: pipe.w, 7: {file: more.r, cloexec: true}, 8: dir, 10: ev, 11: sigs, 12: us.a, 13: us.b, 14: ud.a, 15: ud.b}
`

func init() {
	for _, m := range []mutation{
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
	} {
		m.in = mutatedSockets
		mutations = append(mutations, m)
	}
	notMutated["unix.by"] = "refused so far"
}
