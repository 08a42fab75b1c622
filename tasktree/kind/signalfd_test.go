package kind_test

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
	"regrow/tasktree/schema"
)

func TestSignalfdMake(t *testing.T) {
	made := []recipe.Ref{firstRef}
	signalfd4 := func(mask string, flags int64) fdCall {
		return fdCall{recipe.Call{Name: "signalfd4", Nr: unix.SYS_SIGNALFD4, Args: []recipe.Arg{
			{Int: -1}, {Kind: recipe.ArgData, Data: []byte(mask)}, {Int: 8}, {Int: flags | unix.SFD_CLOEXEC},
		}}}
	}
	testMake(t, "signalfd", []makeCase{
		{"none", values{"signals": []string{}}, []any{signalfd4("\x00\x00\x00\x00\x00\x00\x00\x00", 0)}, made},
		{"the first and the last", values{"signals": []string{"SIGHUP", "SIGRTMAX"}}, []any{signalfd4("\x01\x00\x00\x00\x00\x00\x00\x80", 0)}, made},
		{
			"flags",
			values{"signals": []string{"SIGUSR1"}, "flags": []string{"O_NONBLOCK", "O_APPEND"}},
			[]any{signalfd4("\x00\x02\x00\x00\x00\x00\x00\x00", unix.O_NONBLOCK), keyPos("flags"), setFlagsCall(firstRef, unix.O_NONBLOCK|unix.O_APPEND)},
			made,
		},
	})
	var got []string
	(&kind.Signalfd{Signals: kind.Flags{Bits: 1 << (unix.SIGKILL - 1)}}).Check(&tasktree.Tree{}, func(p tasktree.Problem) { got = append(got, p.String()) })
	if want := []string{"signals: nobody can block SIGKILL and SIGSTOP (the mask is 0x100); drop them"}; !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
}

// TestSignalNames holds the names against those of another table, and that all 64 have
// one.
func TestSignalNames(t *testing.T) {
	table := tablesOf(&kind.Signalfd{})["signals"]
	for n := 1; n <= 64; n++ {
		name := unix.SignalName(unix.Signal(n))
		i := slices.IndexFunc(table, func(f kind.Flag) bool { return uint64(f.Bits) == 1<<(n-1) })
		switch {
		case unix.Signal(n) == unix.SIGKILL || unix.Signal(n) == unix.SIGSTOP:
			if f, ok := schema.Named(name, table); !ok || f.Refuse == "" || i >= 0 {
				t.Errorf("%s can be had", name)
			}
		case i < 0:
			t.Errorf("signal %d has no name", n)
		case name != "" && table[i].Name != name:
			t.Errorf("signal %d is %s, want %s", n, table[i].Name, name)
		}
	}
	for name, n := range map[string]int{"SIGRTMIN": 34, "SIGRTMIN+1": 35, "SIGRTMIN+29": 63, "SIGRTMAX": 64, "SIG32": 32} {
		if f, ok := schema.Named(name, table); !ok || uint64(f.Bits) != 1<<(n-1) {
			t.Errorf("%s is %#x", name, f.Bits)
		}
	}
}

// TestReadSignalfd holds what is said of a live one.
func TestReadSignalfd(t *testing.T) {
	end := fakeEnd{link: "anon_inode:[signalfd]", flags: unix.O_RDWR | unix.O_NONBLOCK, info: map[string]string{"sigmask": "8000000000000201"}}
	testRead(t, []readCase{
		{"all", &kind.Signalfd{}, end, []string{"signals [SIGHUP, SIGUSR1, SIGRTMAX]", "flags [O_NONBLOCK]"}, nil},
		{"a kernel without its fields", &kind.Signalfd{}, fakeEnd{link: end.link}, []string{"flags []"}, []string{"signals: the kernel shows no sigmask in /proc/PID/fdinfo"}},
	})
}
