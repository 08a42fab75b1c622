package kind_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"regrow/tasktree"
	"regrow/tasktree/kind"
	"regrow/tasktree/recipe"
)

func TestRegCheck(t *testing.T) {
	flags := func(names ...string) values { return values{"path": "/x", "flags": names} }
	with := func(v values, key string, value any) values {
		v[key] = value
		return v
	}
	testCheck(t, "reg", []checkCase{
		{"least", values{"path": "x"}, nil},
		{"no path", values{"path": ""}, []string{"1:1: path: the path is empty"}},

		{"one access mode", flags("O_RDWR", "O_APPEND"), nil},
		{
			"each further access mode", flags("O_WRONLY", "O_RDWR", "O_RDONLY"),
			[]string{
				"2:3: flags[1]: O_RDWR and O_WRONLY exclude each other; a file has one access mode",
				"2:4: flags[2]: O_RDONLY and O_RDWR exclude each other; a file has one access mode",
			},
		},
		{"O_TRUNC", flags("O_WRONLY", "O_TRUNC"), nil},
		{"O_TRUNC without writing", flags("O_APPEND", "O_TRUNC"), []string{"2:3: flags[1]: O_TRUNC needs O_WRONLY or O_RDWR"}},
		{"O_EXCL", flags("O_EXCL", "O_CREAT"), nil},
		{"O_EXCL alone", flags("O_EXCL"), []string{"2:2: flags[0]: O_EXCL needs O_CREAT"}},
		{"O_TMPFILE", flags("O_TMPFILE", "O_RDWR"), nil},
		{"O_TMPFILE names its directory", flags("O_RDWR", "O_TMPFILE", "O_DIRECTORY"), nil},
		{"O_TMPFILE without writing", flags("O_TMPFILE"), []string{"2:2: flags[0]: O_TMPFILE needs O_WRONLY or O_RDWR"}},
		{
			"O_TMPFILE with O_CREAT", flags("O_RDWR", "O_TMPFILE", "O_CREAT"),
			[]string{"2:3: flags[1]: O_TMPFILE makes a file without a name; drop O_CREAT"},
		},
		{
			"O_CREAT of a directory", flags("O_DIRECTORY", "O_CREAT"),
			[]string{"2:3: flags[1]: O_CREAT makes no directory; drop O_CREAT or O_DIRECTORY"},
		},
		{"O_PATH", flags("O_PATH", "O_DIRECTORY", "O_NOFOLLOW"), nil},
		{"O_PATH and more", flags("O_RDWR", "O_PATH"), []string{"2:3: flags[1]: O_PATH combines only with O_DIRECTORY and O_NOFOLLOW"}},

		{"content", with(flags("O_CREAT"), "content", "x"), nil},
		{"content of a file without a name", with(flags("O_RDWR", "O_TMPFILE"), "content", "x"), nil},
		{"content of a file that is there", with(flags("O_RDWR"), "content", "x"), []string{"5:1: content: content fills a file that the restore makes; add O_CREAT to flags, or drop content"}},
		{"even none", with(flags("O_RDWR"), "content", ""), []string{"5:1: content: content fills a file that the restore makes; add O_CREAT to flags, or drop content"}},
		{"offset", with(flags(), "offset", 5), nil},
		{"offset of a place", with(flags("O_PATH"), "offset", 5), []string{"4:1: offset: a file opened with O_PATH has no offset"}},
		{"offset 0 of a place", with(flags("O_PATH"), "offset", 0), nil},
	})
}

// TestRegAnotherProcess holds which paths would be another file to the task.
func TestRegAnotherProcess(t *testing.T) {
	const process, terminal = "would mean another process; use {type: inherit, key: ...}", "controlling terminal"
	for _, c := range []struct{ dir, path, want string }{
		{"", "/proc/self", process},
		{"", "/proc/self/fd/3", process},
		{"", "/proc/thread-self/status", process},
		{"", "//proc/./self/", process},
		{"", "/dev/../proc/self", process},
		{"/proc", "self/status", process},
		{"", "/dev/fd", process},
		{"", "/dev/fd/3", process},
		{"", "/dev/fd/../status", process},
		{"", "/dev/./fd", process},
		{"", "/proc//self/../1/status", process},
		{"", "/dev/tty/../null", terminal},
		{"", "/dev/stdin", process},
		{"", "/dev/stdout", process},
		{"/dev", "stderr", process},
		{"", "/dev/tty", terminal},
		{"/dev", "tty", terminal},

		{"", "/proc/selfish", ""},
		{"", "/proc/1/fd/3", ""},
		{"", "/srv/proc/self", ""},
		{"/srv", "proc/self", ""},
		{"", "/dev/fd0", ""},
		{"", "/dev/tty1", ""},
		{"", "/dev/ttyS0", ""},
		{"", "/dev/null", ""},
	} {
		t.Run(c.dir+"+"+c.path, func(t *testing.T) {
			var got []string
			decode(t, "reg", values{"path": c.path}).Check(&tasktree.Tree{Dir: c.dir}, func(p tasktree.Problem) { got = append(got, p.String()) })
			switch {
			case c.want == "" && got != nil:
				t.Errorf("refused: %q", got)
			case c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], `1:1: path: "`+c.path+`" `) || !strings.Contains(got[0], c.want)):
				t.Errorf("got %q, want one problem of the path that says %q", got, c.want)
			}
		})
	}
}

func TestRegWarn(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
		want  []string
	}{
		{"no file is made", []string{"O_RDWR"}, []string{"3:1: mode: mode has no effect without O_CREAT"}},
		{"O_CREAT", []string{"O_CREAT"}, nil},
		{"O_TMPFILE", []string{"O_RDWR", "O_TMPFILE"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, ok := decode(t, "reg", values{"path": "x", "flags": c.flags, "mode": 0}).(tasktree.Warner)
			if !ok {
				t.Fatal("not a Warner")
			}
			var got []string
			w.Warn(&tasktree.Tree{}, func(p tasktree.Problem) { got = append(got, p.String()) })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRegTraits(t *testing.T) {
	for _, c := range []struct {
		name  string
		path  string
		flags []string
		want  tasktree.Traits
	}{
		{"the task's own", "/x", []string{"O_RDWR", "O_APPEND"}, tasktree.Traits{Path: "/x", Writes: true}},
		{"relative", "x", nil, tasktree.Traits{Path: "/dir/x"}},
		{"truncated at the commit point", "/x", []string{"O_RDWR", "O_TRUNC"}, tasktree.Traits{ByRunner: true, Path: "/x", Writes: true}},
		{"made, so it can be removed", "/x", []string{"O_CREAT"}, tasktree.Traits{ByRunner: true, Path: "/x", Creates: true}},
		{"made without a name", "/x", []string{"O_RDWR", "O_TMPFILE"}, tasktree.Traits{ByRunner: true, Path: "/x", Writes: true}},
		{"O_DIRECTORY is half of O_TMPFILE", "/x", []string{"O_DIRECTORY"}, tasktree.Traits{Path: "/x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := decode(t, "reg", values{"path": c.path, "flags": c.flags})
			if diff := cmp.Diff(c.want, spec.Traits(&tasktree.Tree{Dir: "/dir"})); diff != "" {
				t.Errorf("traits (-want +got):\n%s", diff)
			}
			if spec.Ends() != nil {
				t.Errorf("ends %v", spec.Ends())
			}
		})
	}
}

func TestRegMake(t *testing.T) {
	const (
		refuse = recipe.TypeFIFO | recipe.TypeSocket
		made   = firstRef
	)
	path, flagsPos := keyPos("path"), keyPos("flags")
	setFlags := func(f recipe.Ref, flags int64) recipe.Call {
		return recipe.Call{
			Name: "fcntl(F_SETFL)", Nr: unix.SYS_FCNTL, Effect: recipe.Nothing,
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: f}, {Int: unix.F_SETFL}, {Int: flags}},
		}
	}
	seek := func(f recipe.Ref, offset int64) recipe.Call {
		return recipe.Call{
			Name: "lseek", Nr: unix.SYS_LSEEK, Effect: recipe.Nothing, Want: offset, HasWant: true,
			Args: []recipe.Arg{{Kind: recipe.ArgFD, Ref: f}, {Int: offset}, {Int: unix.SEEK_SET}},
		}
	}
	open := func(path string, flags int) recipe.Open {
		return recipe.Open{Path: path, Flags: flags, Mode: 0o644, Refuse: refuse}
	}
	// truncated is an Open whose file is cut at the commit point.
	truncated := func(o recipe.Open) recipe.Open {
		o.Truncate = true
		return o
	}
	create := func(flags int, mode uint32, must bool, content []byte) recipe.Open {
		return recipe.Open{Path: "/x", Flags: flags, Create: true, Mode: mode, Must: must, Content: content, Refuse: refuse}
	}
	testMake(t, "reg", []makeCase{
		{"plain", values{"path": "/x"}, []any{path, open("/x", 0)}, []recipe.Ref{made}},
		{
			"relative, with flags",
			values{"path": "x/", "flags": []string{"O_RDWR", "O_APPEND", "O_NONBLOCK"}},
			[]any{path, open("/dir/x/", unix.O_RDWR|unix.O_APPEND|unix.O_NONBLOCK)},
			[]recipe.Ref{made},
		},
		{
			"how the path is followed counts at the look",
			values{"path": "/x", "flags": []string{"O_NOFOLLOW", "O_DIRECTORY"}},
			[]any{path, open("/x", unix.O_NOFOLLOW|unix.O_DIRECTORY)},
			[]recipe.Ref{made},
		},
		{
			"open(2) ignores O_ASYNC",
			values{"path": "/x", "flags": []string{"O_RDWR", "O_ASYNC", "O_APPEND"}},
			[]any{
				path,
				open("/x", unix.O_RDWR|unix.O_ASYNC|unix.O_APPEND),
				flagsPos, setFlags(made, unix.O_ASYNC|unix.O_APPEND),
			},
			[]recipe.Ref{made},
		},
		{
			"O_TRUNC waits for the commit point",
			values{"path": "/x", "flags": []string{"O_WRONLY", "O_TRUNC"}, "offset": 7},
			[]any{path, truncated(open("/x", unix.O_WRONLY)), keyPos("offset"), seek(made, 7)},
			[]recipe.Ref{made},
		},
		{"offset 0 is there already", values{"path": "/x", "offset": 0}, []any{path, open("/x", 0)}, []recipe.Ref{made}},

		{"made", values{"path": "/x", "flags": []string{"O_RDWR", "O_CREAT"}}, []any{path, create(unix.O_RDWR, 0o644, false, nil)}, []recipe.Ref{made}},
		{
			"made with a mode",
			values{"path": "/x", "flags": []string{"O_CREAT"}, "mode": 0o4750},
			[]any{path, create(0, 0o4750, false, nil)},
			[]recipe.Ref{made},
		},
		{
			"mode 0 is a mode",
			values{"path": "/x", "flags": []string{"O_CREAT"}, "mode": 0},
			[]any{path, create(0, 0, false, nil)},
			[]recipe.Ref{made},
		},
		{
			"O_EXCL",
			values{"path": "/x", "flags": []string{"O_CREAT", "O_EXCL"}},
			[]any{path, create(unix.O_EXCL, 0o644, true, nil)},
			[]recipe.Ref{made},
		},
		{
			"content is for a file that is made",
			values{"path": "/x", "flags": []string{"O_RDWR", "O_CREAT"}, "content": "a\x00b"},
			[]any{path, create(unix.O_RDWR, 0o644, true, []byte("a\x00b"))},
			[]recipe.Ref{made},
		},
		{
			"even none",
			values{"path": "/x", "flags": []string{"O_CREAT"}, "content": ""},
			[]any{path, create(0, 0o644, true, []byte{})},
			[]recipe.Ref{made},
		},
		{
			"O_CREAT with O_TRUNC",
			values{"path": "/x", "flags": []string{"O_RDWR", "O_CREAT", "O_TRUNC"}},
			[]any{path, truncated(create(unix.O_RDWR, 0o644, false, nil))},
			[]recipe.Ref{made},
		},
		{
			"made without a name, with an offset",
			values{"path": "/x", "flags": []string{"O_RDWR", "O_TMPFILE"}, "offset": 3},
			[]any{path, create(unix.O_RDWR|unix.O_TMPFILE, 0o644, false, nil), keyPos("offset"), seek(made, 3)},
			[]recipe.Ref{made},
		},
		{
			"content is not truncated away",
			values{"path": "/x", "flags": []string{"O_RDWR", "O_CREAT", "O_TRUNC"}, "content": "x"},
			[]any{path, create(unix.O_RDWR, 0o644, true, []byte("x"))},
			[]recipe.Ref{made},
		},
		{
			"with O_TMPFILE O_EXCL keeps the file from ever getting a name",
			values{"path": "/x", "flags": []string{"O_RDWR", "O_TMPFILE", "O_EXCL", "O_TRUNC"}},
			[]any{path, create(unix.O_RDWR|unix.O_TMPFILE|unix.O_EXCL, 0o644, true, nil)},
			[]recipe.Ref{made},
		},
		{
			"O_PATH is not made again: that would be another kind of open file",
			values{"path": "/x", "flags": []string{"O_PATH", "O_NOFOLLOW"}},
			[]any{path, open("/x", unix.O_PATH|unix.O_NOFOLLOW)},
			[]recipe.Ref{made},
		},
	}, cmpopts.IgnoreFields(recipe.Open{}, "TruncatePos"))
}

// TestRegFromProgram holds that a mode without a place counts if it is not 0.
func TestRegFromProgram(t *testing.T) {
	for mode, want := range map[int64]uint32{0: 0o644, 0o600: 0o600} {
		m := &recorder{}
		reg := &kind.Reg{
			Path: tasktree.Text{Value: "/x"}, Mode: tasktree.Number{Value: mode},
			Flags: kind.Flags{Bits: unix.O_CREAT},
		}
		reg.Make(&tasktree.Tree{}, m)
		if got := m.steps[1].(recipe.Open).Mode; got != want {
			t.Errorf("mode %#o makes a file of %#o, want %#o", mode, got, want)
		}
	}
}
