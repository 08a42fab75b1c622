package kind_test

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
)

// setFlagsCall is the call that gives an open file flags.
func setFlagsCall(fd recipe.Ref, flags int64) recipe.Call {
	return recipe.Call{
		Name: "fcntl(F_SETFL)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
		Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: fd}, {Int: unix.F_SETFL}, {Int: flags}},
	}
}

func TestEventfdMake(t *testing.T) {
	made := []recipe.Ref{firstRef}
	eventfd2 := func(value, flags int64) fdCall {
		return fdCall{recipe.Call{Name: "eventfd2", Nr: unix.SYS_EVENTFD2, Args: []recipe.Arg{{Int: value}, {Int: flags | unix.EFD_CLOEXEC}}}}
	}
	write := func(bytes string) recipe.Call {
		return recipe.Call{
			Name: "write", Nr: unix.SYS_WRITE, Effect: recipe.Nothing, Want: 8, HasWant: true,
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: firstRef}, {Kind: recipe.ArgData, Data: []byte(bytes)}, {Int: 8}},
		}
	}
	testMake(t, "eventfd", []makeCase{
		{"plain", values{}, []any{eventfd2(0, 0)}, made},
		{"a counter of 32 bits", values{"counter": uint64(math.MaxUint32)}, []any{eventfd2(math.MaxUint32, 0)}, made},
		{"one more", values{"counter": uint64(math.MaxUint32 + 1)}, []any{eventfd2(math.MaxUint32, 0), keyPos("counter"), write("\x01\x00\x00\x00\x00\x00\x00\x00")}, made},
		{
			"the largest counter",
			values{"counter": uint64(math.MaxUint64 - 1)},
			[]any{eventfd2(math.MaxUint32, 0), keyPos("counter"), write("\xff\xff\xff\xff\xfe\xff\xff\xff")},
			made,
		},
		{"a semaphore that does not block", values{"counter": uint64(3), "semaphore": true, "flags": []string{"O_NONBLOCK"}}, []any{eventfd2(3, unix.EFD_SEMAPHORE|unix.O_NONBLOCK)}, made},
		{
			"flags that it is not made with",
			values{"flags": []string{"O_NONBLOCK", "O_APPEND", "O_NOATIME"}},
			[]any{eventfd2(0, unix.O_NONBLOCK), keyPos("flags"), setFlagsCall(firstRef, unix.O_NONBLOCK|unix.O_APPEND|unix.O_NOATIME)},
			made,
		},
	})
	testCheck(t, "eventfd", []checkCase{
		{"plain", values{}, nil},
		{"the largest counter", values{"counter": uint64(math.MaxUint64 - 1)}, nil},
		{"a program's counter", values{"counter": uint64(math.MaxUint64)}, []string{"8:1: counter: 18446744073709551615 is out of range: expected 0 to 18446744073709551614"}},
	})
}

// TestReadEventfd holds what is said of a live one, and what is not.
func TestReadEventfd(t *testing.T) {
	end := fakeEnd{link: "anon_inode:[eventfd]", flags: unix.O_RDWR | unix.O_NONBLOCK, info: map[string]string{"eventfd-count": "fffffffffffffffe", "eventfd-semaphore": "1"}}
	testRead(t, []readCase{
		{"all", &kind.Eventfd{}, end, []string{"counter 18446744073709551614", "semaphore true", "flags [O_NONBLOCK]"}, nil},
		{
			"an old kernel", &kind.Eventfd{},
			fakeEnd{link: end.link, info: map[string]string{"eventfd-count": "7"}},
			[]string{"counter 7", "flags []"},
			[]string{"semaphore: this kernel does not show it, and only a read would tell, always"},
		},
		{
			"a kernel without its fields", &kind.Eventfd{},
			fakeEnd{link: end.link},
			[]string{"flags []"},
			[]string{"counter: the kernel shows no eventfd-count in /proc/PID/fdinfo", "semaphore: this kernel does not show it, and only a read would tell, always"},
		},
	})
}
