package execcheck

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var amd64 = Arch{Machine: AMD64.Machine, Compat: AMD64.Compat, Page: 4096}

// TestScript checks how #! lines are parsed.
func TestScript(t *testing.T) {
	interp := func(name string, arg ...string) Verdict {
		v := Verdict{Script: true, Interpreter: name}
		if len(arg) > 0 {
			v.Arg, v.HasArg = arg[0], true
		}
		return v
	}
	const (
		none = "its #! line has no interpreter"
		cut  = "the interpreter in its #! line does not end within the first 256 bytes"
	)
	empty := Verdict{Err: unix.EACCES, Why: none}
	refused := func(why string) Verdict { return Verdict{Err: unix.ENOEXEC, Why: why} }
	x := func(n int) string { return strings.Repeat("x", n) }
	blanks := func(n int) string { return strings.Repeat(" ", n) }
	for _, c := range []struct {
		name, text string
		want       Verdict
	}{
		{"plain", "#!/bin/sh\necho", interp("/bin/sh")},
		{"no newline", "#!/bin/sh", interp("/bin/sh")},
		{"blanks", "#! \t/bin/sh \t \n", interp("/bin/sh")},
		{"argument", "#!/bin/sh -e -u\n", interp("/bin/sh", "-e -u")},
		{"argument with blanks around", "#!/bin/sh \t -e  x \t\n", interp("/bin/sh", "-e  x")},
		{"argument without newline", "#!/bin/sh -e", interp("/bin/sh", "-e")},
		{"relative", "#!sh\n", interp("sh")},
		{"nothing", "#!", empty}, // a NUL follows
		{"nothing in the line", "#!\n", refused(none)},
		{"blanks alone", "#!  \t\n/bin/sh\n", refused(none)},
		{"blanks to the end", "#!" + blanks(254), refused(none)},
		{"nul", "#!\x00/bin/sh\n", empty},
		{"nul in the name", "#!/bin/sh\x00x y\n", interp("/bin/sh")},
		{"nul in the argument", "#!/bin/sh a\x00b\n", interp("/bin/sh", "a")},
		{"carriage return", "#!/bin/sh\r\n", interp("/bin/sh\r")},
		{"name up to the newline in the last byte", "#!/" + x(252) + "\n", interp("/" + x(252))},
		{"name to the end", "#!/" + x(253), refused(cut)},
		{"name past the end", "#!/" + x(300) + "\n", refused(cut)},
		{"name, then a blank in the last byte", "#!/" + x(252) + " ", interp("/" + x(252))},
		{"argument that is cut", "#!/bin/sh " + x(300) + "\n", interp("/bin/sh", x(245))},
		{"newline behind the end", "#!/bin/sh" + blanks(300) + "\n", interp("/bin/sh")},
	} {
		t.Run(c.name, func(t *testing.T) {
			head := []byte(c.text)
			got := Program(head[:min(len(head), HeadSize)], bytes.NewReader(head), amd64)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.text, diff)
			}
		})
	}
}

// elf returns the header of an ELF binary, with a PT_INTERP if interp is not empty.
func elf(kind, machine uint16, interp string) []byte {
	b := make([]byte, 64+56)
	copy(b, elfMagic+"\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], kind)
	le.PutUint16(b[18:], machine)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	if interp != "" {
		le.PutUint32(b[64:], 3)
		le.PutUint64(b[64+8:], uint64(len(b)))
		le.PutUint64(b[64+32:], uint64(len(interp)))
		b = append(b, interp...)
	}
	return b
}

// TestELF checks the verdicts on ELF binaries and their interpreters.
func TestELF(t *testing.T) {
	with := func(b []byte, change func(b []byte)) []byte {
		change(b)
		return b
	}
	put16 := func(at int, n uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], n) }
	}
	compat := with(make([]byte, 200), func(b []byte) { // i386
		copy(b, elfMagic+"\x01\x01\x01")
		put16(16, 2)(b)
		put16(18, 3)(b)
		put16(42, 32)(b)
		put16(44, 1)(b)
	})
	for _, c := range []struct {
		name  string
		file  []byte
		want  unix.Errno
		left  bool
		path  string
		asLib unix.Errno // as the interpreter of another binary
	}{
		{name: "static", file: elf(2, 62, "")},
		{name: "position independent", file: elf(3, 62, "")},
		{name: "dynamic", file: elf(3, 62, "/lib/ld.so\x00"), path: "/lib/ld.so"},
		{name: "name ends early", file: elf(3, 62, "/lib/ld.so\x00x\x00"), path: "/lib/ld.so"},
		{name: "object", file: elf(1, 62, ""), want: unix.ENOEXEC},
		{name: "another machine", file: elf(2, 183, ""), want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "32 bits", file: compat, left: true, asLib: unix.ELIBBAD},
		{name: "32 bits of another machine", file: with(bytes.Clone(compat), put16(18, 8)), want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "no headers", file: with(elf(2, 62, ""), put16(56, 0)), want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "too many headers", file: with(elf(2, 62, ""), put16(56, 74)), want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "headers of another size", file: with(elf(2, 62, ""), put16(54, 32)), want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "headers cut off", file: elf(2, 62, "")[:100], want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "header cut off", file: elf(2, 62, "")[:60], want: unix.ENOEXEC, asLib: unix.EIO},
		{name: "interpreter of one byte", file: elf(2, 62, "\x00"), want: unix.ENOEXEC},
		{name: "interpreter without NUL", file: elf(2, 62, "/lib/ld.so"), want: unix.ENOEXEC},
		{name: "interpreter without name", file: elf(2, 62, "\x00\x00"), want: unix.EACCES},
		{name: "interpreter too long", file: elf(2, 62, strings.Repeat("x", 4096)+"\x00"), want: unix.ENOEXEC},
		{name: "interpreter cut off", file: elf(2, 62, "/lib/ld.so\x00")[:125], want: unix.EIO},
		{name: "empty", want: unix.ENOEXEC, asLib: unix.EIO},
		{name: "text", file: []byte(strings.Repeat("echo hello\n", 9)), want: unix.ENOEXEC, asLib: unix.ELIBBAD},
		{name: "a.out", file: []byte("\x0b\x01\x00\x00"), left: true, asLib: unix.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Program(c.file[:min(len(c.file), HeadSize)], bytes.NewReader(c.file), amd64)
			if got.Err != c.want || got.Left != c.left || got.Interpreter != c.path || got.Script {
				t.Errorf("got %+v", got)
			}
			if got := Loader(bytes.NewReader(c.file), amd64); got.Err != c.asLib {
				t.Errorf("as an interpreter: %+v, want %v", got, c.asLib)
			}
		})
	}
}

// TestMisc checks which files an entry of binfmt_misc matches.
func TestMisc(t *testing.T) {
	const (
		python  = "enabled\ninterpreter /usr/bin/python3\nflags: \nextension .pyc\n"
		arm64   = "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
		inside  = "enabled\ninterpreter /x\nflags: \noffset 2\nmagic 6162\n"
		off     = "disabled\ninterpreter /x\nflags: \noffset 0\nmagic 23\n"
		unknown = "enabled\ninterpreter /x\nwhat is this\n"
	)
	for _, c := range []struct {
		entry, path, head string
		enabled, takes    bool
	}{
		{python, "/x/a.pyc", "", true, true},
		{python, "/x.pyc/a", "", true, false},
		{python, "/x/a.py", "", true, false},
		{arm64, "/x", string(elf(2, 183, "")), true, true},
		{arm64, "/x", string(elf(3, 183, "")), true, true},
		{arm64, "/x", string(elf(2, 62, "")), true, false},
		{inside, "/x", "xxab", true, true},
		{inside, "/x", "xxa", true, false},
		{off, "/x", "#!", false, false},
		{unknown, "/x", "", true, true},
	} {
		m, enabled := ParseMisc(c.entry)
		if enabled != c.enabled || enabled && m.Takes(c.path, []byte(c.head)) != c.takes {
			t.Errorf("%q for %s, %q: enabled %v, takes %v", c.entry, c.path, c.head, enabled, enabled && m.Takes(c.path, []byte(c.head)))
		}
	}
	for _, c := range []struct {
		path, head string
		want       bool
	}{
		{"/x.py", "#!/bin/sh", false},
		{"/x.py", "import os", true},
		{"/d.d/x", "echo hello", false},
		{"/x", "\xca\xfe\xba\xbe", true},
		{"/x", "", false},
		{"/x", string(elf(2, 62, "")), false},
		{"/x", string(elf(2, 183, "")), true},
	} {
		if got := Foreign(c.path, []byte(c.head), amd64); got != c.want {
			t.Errorf("%s, %q: %v", c.path, c.head, got)
		}
	}
}

// FuzzProgram checks that a verdict is consistent: it has one result, an error has words, and
// an interpreter is a possible path.
func FuzzProgram(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#! \x00"))
	f.Add(elf(3, 62, "/lib/ld.so\x00"))
	f.Add(elf(3, 3, ""))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, v := range []Verdict{
			Program(file[:min(len(file), HeadSize)], bytes.NewReader(file), amd64),
			Loader(bytes.NewReader(file), amd64),
		} {
			if (v.Err != 0) != (v.Why != "") || v.Err != 0 && (v.Left || v.Interpreter != "") || v.Left && v.Interpreter != "" {
				t.Errorf("%+v", v)
			}
			if v.Script != (v.Interpreter != "" && bytes.HasPrefix(file, []byte("#!"))) || v.HasArg && !v.Script {
				t.Errorf("%+v", v)
			}
			if strings.ContainsRune(v.Interpreter+v.Arg, 0) || v.Script && strings.ContainsAny(v.Interpreter, " \t\n") || strings.Contains(v.Arg, "\n") {
				t.Errorf("%+v", v)
			}
		}
	})
}

// FuzzMisc checks that no text of an entry makes ParseMisc panic, and that an entry that is
// understood matches the files that it describes.
func FuzzMisc(f *testing.F) {
	f.Add("enabled\ninterpreter /x\nflags: \noffset 2\nmagic 6162\nmask ff0f\n", "/x", []byte("xxab"))
	f.Add("enabled\nextension .py\n", "/x.py", []byte(""))
	f.Fuzz(func(t *testing.T, entry, path string, head []byte) {
		m, enabled := ParseMisc(entry)
		if enabled != (entry == "enabled" || strings.HasPrefix(entry, "enabled\n")) {
			t.Errorf("enabled: %v", enabled)
		}
		_ = m.Takes(path, head[:min(len(head), HeadSize)])
	})
}
