package host

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"regrow/images"
	"regrow/restore/internal/plan"
)

// TestSocketsLack holds what is said of sockets that this host cannot have.
func TestSocketsLack(t *testing.T) {
	tree, err := images.Decode(strings.NewReader(`version: 1
files:
  n: {type: reg, path: /dev/null}
  s: {type: unix, pair: stream, queue: {a: [{data: x, files: [n, n, n, n, n]}, {data: "!", oob: true}]}, options: {a: {SO_SNDBUF: 20000}, b: {SO_RCVBUF: 1000}}}
  t: {type: unix, pair: dgram, queue: {b: [{files: [n, n, n, n, n, n]}]}}
  l: {type: unix, listen: autobind, backlog: 200}
  unused: {type: unix, listen: autobind, backlog: 300}
tasks: [{name: a, fds: {3: s.a, 4: l, 5: t.a}}]
`), "tree.yaml", "")
	if err != nil {
		t.Fatal(err)
	}
	ask := able()
	ask.unixOOB = func() error { return unix.EOPNOTSUPP }
	sys := ask.sys
	ask.sys = func(name string) string {
		if value, ok := map[string]string{"net/core/somaxconn": "128", "net/core/wmem_max": "4096", "net/core/rmem_max": "4096"}[name]; ok {
			return value
		}
		return sys(name)
	}
	for _, c := range []struct {
		capabilities string
		want         []string
	}{
		{"0000000000000000", []string{
			`4:97: file "s": this kernel has no out-of-band bytes on Unix sockets (Linux 5.15 with CONFIG_AF_UNIX_OOB); drop oob`,
			`4:131: file "s": a buffer of 20000 bytes: net.core.wmem_max allows 8192, and more takes CAP_NET_ADMIN in the first user namespace; raise it, or ask for less`,
			`5:53: file "t": with these 11 files wait in queues, and a user may have 10 in flight, as many as the hard RLIMIT_NOFILE; raise it, or run as root`,
			`6:46: file "l": backlog 200, net.core.somaxconn is 128; raise it (sysctl -w net.core.somaxconn=200), or ask for less`,
		}},
		{"0000000001201000", []string{ // CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_RESOURCE
			`4:97: file "s": this kernel has no out-of-band bytes on Unix sockets (Linux 5.15 with CONFIG_AF_UNIX_OOB); drop oob`,
			`6:46: file "l": backlog 200, net.core.somaxconn is 128; raise it (sysctl -w net.core.somaxconn=200), or ask for less`,
		}},
	} {
		status := ask.status
		ask.status = func(name string) string {
			if name == "CapEff" {
				return c.capabilities
			}
			return status(name)
		}
		var got []string
		for _, l := range Lacking(tree, plan.Host{HardFiles: 10}, ask) {
			got = append(got, l.Pos.String()+": "+l.Msg)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("capabilities %s (-want +got):\n%s", c.capabilities, diff)
		}
	}
}
