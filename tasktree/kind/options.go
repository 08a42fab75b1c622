package kind

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

// Options are what setsockopt(2) gives a socket: one entry for each of the table that was
// said, by name.
type Options struct {
	Pos     tasktree.Pos
	Numbers map[string]schema.Number
	Times   map[string]schema.Time
}

// optionForm says how the value of an option is written.
type optionForm uint8

const (
	aNumber  optionForm = iota // an int
	aSwitch                    // an int, 0 or 1
	aBuffer                    // an int that the kernel doubles: half of what it shows is set
	aTime                      // struct timeval; 0: for ever
	aLinger                    // struct linger; not said: off
	aLock                      // an int, and for good
	anOffset                   // an int, -1 or more
	aStamp                     // a switch of which a socket has one at a time
)

// option is one that a socket can have.
type option struct {
	name         string
	level, nr    int
	form         optionForm
	unix, tcp    bool // which families have it
	udp          bool
	otherwise    int64  // what a new socket has
	least        int64  // of its values
	needs, since string // a capability, the oldest kernel
}

const (
	soPassPIDFD   = 76
	soRcvPriority = 82
	soPassRights  = 83
)

// optionTable has the options of SOL_SOCKET that are a state, see socket(7) and unix(7).
// Older kernels take some on sockets that know nothing of them, so which family has one
// is said here.
var optionTable = []option{
	{name: "SO_BROADCAST", nr: unix.SO_BROADCAST, form: aSwitch, unix: true, tcp: true, udp: true},
	{name: "SO_KEEPALIVE", nr: unix.SO_KEEPALIVE, form: aSwitch, unix: true, tcp: true, udp: true},
	{name: "SO_LINGER", nr: unix.SO_LINGER, form: aLinger, unix: true, tcp: true, udp: true},
	{name: "SO_MARK", nr: unix.SO_MARK, form: aNumber, unix: true, tcp: true, udp: true, needs: "CAP_NET_ADMIN or CAP_NET_RAW in the network namespace"},
	{name: "SO_OOBINLINE", nr: unix.SO_OOBINLINE, form: aSwitch, unix: true, tcp: true, udp: true},
	{name: "SO_PASSCRED", nr: unix.SO_PASSCRED, form: aSwitch, unix: true},
	{name: "SO_PASSPIDFD", nr: soPassPIDFD, form: aSwitch, unix: true, since: "6.5"},
	{name: "SO_PASSRIGHTS", nr: soPassRights, form: aSwitch, unix: true, otherwise: 1, since: "6.16"},
	{name: "SO_PASSSEC", nr: unix.SO_PASSSEC, form: aSwitch, unix: true},
	{name: "SO_PEEK_OFF", nr: unix.SO_PEEK_OFF, form: anOffset, unix: true, tcp: true, udp: true, otherwise: -1},
	{name: "SO_PRIORITY", nr: unix.SO_PRIORITY, form: aNumber, unix: true, tcp: true, udp: true, needs: "CAP_NET_ADMIN in the network namespace, beyond 6"},
	{name: "SO_RCVBUF", nr: unix.SO_RCVBUF, form: aBuffer, unix: true, tcp: true, udp: true, otherwise: -1},
	{name: "SO_RCVLOWAT", nr: unix.SO_RCVLOWAT, form: aNumber, unix: true, tcp: true, udp: true, otherwise: 1, least: 1},
	{name: "SO_RCVTIMEO", nr: unix.SO_RCVTIMEO, form: aTime, unix: true, tcp: true, udp: true},
	{name: "SO_REUSEADDR", nr: unix.SO_REUSEADDR, form: aSwitch, unix: true, tcp: true, udp: true},
	{name: "SO_RXQ_OVFL", nr: unix.SO_RXQ_OVFL, form: aSwitch, unix: true, tcp: true, udp: true},
	{name: "SO_SNDBUF", nr: unix.SO_SNDBUF, form: aBuffer, unix: true, tcp: true, udp: true, otherwise: -1},
	{name: "SO_SNDTIMEO", nr: unix.SO_SNDTIMEO, form: aTime, unix: true, tcp: true, udp: true},
	{name: "SO_TIMESTAMP", nr: unix.SO_TIMESTAMP, form: aStamp, unix: true, tcp: true, udp: true},
	{name: "SO_TIMESTAMPNS", nr: unix.SO_TIMESTAMPNS, form: aStamp, unix: true, tcp: true, udp: true},
	{name: "SO_LOCK_FILTER", nr: unix.SO_LOCK_FILTER, form: aLock, unix: true, tcp: true, udp: true},
}

// unixOptions are those of Unix sockets.
var unixOptions = optionsOf(func(o option) bool { return o.unix })

func optionsOf(has func(o option) bool) (some []option) {
	for _, o := range optionTable {
		if o.level == 0 {
			o.level = unix.SOL_SOCKET
		}
		if has(o) {
			some = append(some, o)
		}
	}
	return some
}

// size is how many bytes the value has.
func (o option) size() int {
	switch o.form {
	case aTime:
		return 16
	case aLinger:
		return 8
	default:
		return 4
	}
}

// isTime reports whether the value is a duration.
func (o option) isTime() bool { return o.form == aTime || o.form == aLinger }

// bind binds the options of a table to a key.
func (o *Options) bind(f schema.Fields, key string, table []option) {
	f.Group(key, &o.Pos, func(f schema.Fields) {
		for _, of := range table {
			of.bind(f, o)
		}
	}, schema.Help{Want: "a mapping from options to values, such as {SO_RCVBUF: 8192}"})
}

// bind binds one option. What does not change is not written: several may look at once.
func (o option) bind(f schema.Fields, all *Options) {
	if o.isTime() {
		v, was := all.Times[o.name], all.Times[o.name]
		f.Time(o.name, &v, schema.Help{})
		if v != was {
			all.setTime(o.name, v)
		}
		return
	}
	i := schema.Int{Lo: o.least, Hi: math.MaxInt32, Of: "a value"}
	switch o.form {
	case aSwitch, aLock, aStamp:
		i.Hi = 1
	case anOffset:
		i.Lo = -1
	default:
	}
	v, was := all.Numbers[o.name], all.Numbers[o.name]
	f.Int(o.name, &v, i)
	if v != was {
		all.setNumber(o.name, v)
	}
}

func (o *Options) setTime(name string, v schema.Time) {
	if o.Times == nil {
		o.Times = map[string]schema.Time{}
	}
	o.Times[name] = v
}

func (o *Options) setNumber(name string, v schema.Number) {
	if o.Numbers == nil {
		o.Numbers = map[string]schema.Number{}
	}
	o.Numbers[name] = v
}

// made gives what is read of them.
func (o *Options) made() Options {
	return Options{Pos: o.Pos, Numbers: maps.Clone(o.Numbers), Times: maps.Clone(o.Times)}
}

// settle says of what is expected and was not read that it is off, and takes what the kernel
// rounds up for what is expected: times to a tick, which is 10 ms at most, SO_LINGER to
// seconds, and buffers that are below the smallest (SOCK_MIN_SNDBUF in include/net/sock.h).
func (o *Options) settle(made *Options) {
	const smallest = 8192 // beyond that of any architecture
	for name, want := range made.Times {
		got, read := o.Times[name]
		up := 10 * time.Millisecond
		if name == "SO_LINGER" {
			up = time.Second
		}
		switch {
		case !read:
			o.setTime(name, schema.Time{Value: -1, Set: true})
		case got.Value > want.Value && got.Value-want.Value <= up:
			o.setTime(name, schema.Time{Value: want.Value, Set: true})
		}
	}
	for _, name := range []string{"SO_SNDBUF", "SO_RCVBUF"} {
		want, got := made.Numbers[name], o.Numbers[name]
		if want.Said() && want.Value < got.Value && got.Value <= smallest {
			o.setNumber(name, schema.Number{Value: want.Value, Set: true})
		}
	}
}

// check applies the rules.
func (o *Options) check(path string, report func(tasktree.Problem)) {
	if ns := o.Numbers["SO_TIMESTAMPNS"]; ns.Value == 1 && o.Numbers["SO_TIMESTAMP"].Value == 1 {
		report(tasktree.Problem{Pos: ns.Pos, Path: path + ".SO_TIMESTAMPNS", Msg: "SO_TIMESTAMP and SO_TIMESTAMPNS exclude each other; write one"})
	}
	for _, of := range optionTable {
		if v := o.Numbers[of.name]; of.form == aBuffer && v.Value%2 != 0 {
			report(tasktree.Problem{Pos: v.Pos, Path: path + "." + of.name, Msg: fmt.Sprintf("the kernel doubles what is set, so a size is never odd; write %d", v.Value+1)})
		}
	}
}

// host lists what they need.
func (o *Options) host() (needs []recipe.Need) {
	for name, what := range map[string]recipe.Resource{"SO_SNDBUF": recipe.SendBuffer, "SO_RCVBUF": recipe.ReceiveBuffer} {
		if v := o.Numbers[name]; v.Said() {
			needs = append(needs, recipe.Need{What: what, N: v.Value / 2, Pos: v.Pos})
		}
	}
	return needs
}

// setOption is a call that sets an option.
func setOption(name string, fd recipe.Ref, level, nr int, value recipe.Arg, size int, hints ...recipe.Hint) recipe.Call {
	return recipe.Call{
		Name: "setsockopt(" + name + ")", Nr: unix.SYS_SETSOCKOPT, Effect: recipe.Nothing, Hints: hints,
		Args: []recipe.Arg{recipe.FD(fd), recipe.Int(int64(level)), recipe.Int(int64(nr)), value, recipe.Int(int64(size))},
	}
}

func int32Bytes(n int64) recipe.Arg {
	return recipe.Data(binary.NativeEndian.AppendUint32(nil, uint32(n)))
}

// shape gives a socket its options. Those that are in the way of others, or for good, are
// the last of the table.
func (o *Options) shape(m recipe.Maker, fd recipe.Ref, table []option, filter [][]schema.Number) {
	attachFilter(m, fd, filter)
	for _, of := range table {
		hints := []recipe.Hint{{Errno: int(unix.ENOPROTOOPT), Text: "this kernel does not have it" + sinceWords(of.since) + "; drop it"}}
		if of.needs != "" {
			hints = append(hints, recipe.Hint{Errno: int(unix.EPERM), Text: "it needs " + of.needs})
		}
		if v, said := o.Times[of.name]; said {
			m.At(v.Pos)
			micro := (v.Value + time.Microsecond - 1) / time.Microsecond // rounded up: 0 is for ever
			value := binary.NativeEndian.AppendUint64(nil, uint64(micro/1e6))
			value = binary.NativeEndian.AppendUint64(value, uint64(micro%1e6))
			if of.form == aLinger {
				value = binary.NativeEndian.AppendUint32([]byte{0: 1, 3: 0}, uint32((v.Value+time.Second-1)/time.Second))
			}
			m.Call(setOption(of.name, fd, of.level, of.nr, recipe.Data(value), len(value), hints...))
		}
		v, said := o.Numbers[of.name]
		if !said || of.form == aStamp && v.Value == 0 { // to take one away takes both
			continue
		}
		m.At(v.Pos)
		if of.form != aBuffer {
			m.Call(setOption(of.name, fd, of.level, of.nr, int32Bytes(v.Value), 4, hints...))
			continue
		}
		setBuffer(m, fd, of.name, v)
	}
}

// setBuffer sets the size of a buffer, SO_SNDBUF or SO_RCVBUF. The first call is cut at
// net.core.wmem_max or rmem_max; the second is not, and is for those who have CAP_NET_ADMIN.
func setBuffer(m recipe.Maker, fd recipe.Ref, name string, v schema.Number) {
	nr, force := unix.SO_SNDBUF, unix.SO_SNDBUFFORCE
	if name == "SO_RCVBUF" {
		nr, force = unix.SO_RCVBUF, unix.SO_RCVBUFFORCE
	}
	m.At(v.Pos)
	m.Call(setOption(name, fd, unix.SOL_SOCKET, nr, int32Bytes(v.Value/2), 4))
	forced := setOption(name+"FORCE", fd, unix.SOL_SOCKET, force, int32Bytes(v.Value/2), 4)
	forced.Allow = int(unix.EPERM)
	m.Call(forced)
}

func sinceWords(since string) string {
	if since == "" {
		return ""
	}
	return " (Linux " + since + " has)"
}

// attachFilter gives a socket a classic BPF program, see SO_ATTACH_FILTER of socket(7).
func attachFilter(m recipe.Maker, fd recipe.Ref, filter [][]schema.Number) {
	if len(filter) == 0 {
		return
	}
	var program []byte
	for _, i := range filter {
		program = binary.NativeEndian.AppendUint16(program, uint16(i[0].Value))
		program = append(program, byte(i[1].Value), byte(i[2].Value))
		program = binary.NativeEndian.AppendUint32(program, uint32(i[3].Value))
	}
	m.At(filter[0][0].Pos)
	const size = 16 // struct sock_fprog
	length := append(binary.NativeEndian.AppendUint16(nil, uint16(len(filter))), make([]byte, 6)...)
	m.Call(setOption("SO_ATTACH_FILTER", fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, recipe.Struct(recipe.Data(length), recipe.Pointer(program)), size,
		recipe.Hint{Errno: int(unix.EINVAL), Text: "the kernel does not take this program"}))
}

const maxFilter = 4096 // BPF_MAXINSNS

// instructions is a list of [code, jt, jf, k].
type instructions struct{ all *[][]schema.Number }

func (l instructions) Len() int { return len(*l.all) }
func (l instructions) Add()     { *l.all = append(*l.all, nil) }

func (l instructions) Item(i int, f schema.Fields) {
	f.List("", schema.Numbers(&(*l.all)[i], schema.Int{Hi: math.MaxUint32, Of: "a part of an instruction"}), schema.Help{
		Want: "a list of code, jt, jf and k", Most: 4, More: "an instruction has code, jt, jf and k, and no more",
	})
}

func bindFilter(f schema.Fields, key string, filter *[][]schema.Number) {
	f.List(key, instructions{filter}, schema.Help{
		Want: "a list of instructions", Item: "a list of code, jt, jf and k",
		Most: maxFilter, More: fmt.Sprintf("the kernel takes %d instructions", maxFilter),
	})
}

// checkFilter holds that the instructions are whole.
func checkFilter(filter [][]schema.Number, pos tasktree.Pos, path string, report func(tasktree.Problem)) {
	for n, i := range filter {
		if len(i) > 0 {
			pos = i[0].Pos
		}
		switch at := fmt.Sprintf("%s[%d]", path, n); {
		case len(i) != 4:
			report(tasktree.Problem{Pos: pos, Path: at, Msg: "an instruction is [code, jt, jf, k]"})
		case i[0].Value > math.MaxUint16 || i[1].Value > math.MaxUint8 || i[2].Value > math.MaxUint8:
			report(tasktree.Problem{Pos: pos, Path: at, Msg: "code has 16 bits, jt and jf have 8"})
		}
	}
}

// read reads those that are asked for, by the path of their key.
func (o *Options) read(l Live, c LiveCopy, path string, table []option) (unseen []Unseen) {
	for _, of := range table {
		key := path + "." + of.name
		if !l.Wants(key) {
			continue
		}
		value, err := c.Option(of.level, of.nr, of.size())
		if of.since != "" && errors.Is(err, unix.ENOPROTOOPT) {
			continue // an older kernel: there is nothing to see
		}
		if err != nil || len(value) < of.size() {
			unseen = append(unseen, Unseen{Key: key, Why: fmt.Sprintf("getsockopt: %v", err)})
			continue
		}
		n := binary.NativeEndian
		switch of.form {
		case aTime:
			o.setTime(of.name, schema.Time{Value: time.Duration(n.Uint64(value))*time.Second + time.Duration(n.Uint64(value[8:]))*time.Microsecond, Set: true})
		case aLinger:
			if n.Uint32(value) != 0 { // what is off is not said
				o.setTime(of.name, schema.Time{Value: time.Duration(n.Uint32(value[4:])) * time.Second, Set: true})
			}
		default:
			o.setNumber(of.name, schema.Number{Value: int64(int32(n.Uint32(value))), Set: true})
		}
	}
	return unseen
}

// readFilter reads a filter, which is compared where one is described.
func readFilter(c LiveCopy) (filter [][]schema.Number, err error) {
	program, err := c.Filter()
	number := func(v int64) schema.Number { return schema.Number{Value: v, Set: true} }
	for ; len(program) >= 8; program = program[8:] {
		filter = append(filter, []schema.Number{
			number(int64(binary.NativeEndian.Uint16(program))), number(int64(program[2])), number(int64(program[3])), number(int64(binary.NativeEndian.Uint32(program[4:]))),
		})
	}
	return filter, err
}
