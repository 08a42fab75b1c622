package images

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestEncodings checks the messages for texts that are not UTF-8, with and without a byte
// order mark.
func TestEncodings(t *testing.T) {
	const text = "version: 1\ntasks: [{name: a}] # \u00e9 \U0001F600\n"
	units := func(size int, swap bool, s string) string {
		var b bytes.Buffer
		put := func(unit uint32) {
			for i := range size {
				if swap {
					i = size - 1 - i
				}
				b.WriteByte(byte(unit >> (8 * i)))
			}
		}
		for _, c := range s {
			if size == 4 {
				put(uint32(c))
				continue
			}
			for _, unit := range utf16.AppendRune(nil, c) {
				put(uint32(unit))
			}
		}
		return b.String()
	}
	for _, c := range []struct{ name, text, want string }{
		{"UTF-8", text, ""},
		{"UTF-8 with a mark", "\ufeff" + text, ""},
		{"UTF-16LE with a mark", units(2, false, "\ufeff"+text), "1:1: the text is UTF-16; save it as UTF-8"},
		{"UTF-16BE with a mark", units(2, true, "\ufeff"+text), "1:1: the text is UTF-16; save it as UTF-8"},
		{"UTF-32LE with a mark", units(4, false, "\ufeff"+text), "1:1: the text is UTF-32; save it as UTF-8"},
		{"UTF-32BE with a mark", units(4, true, "\ufeff"+text), "1:1: the text is UTF-32; save it as UTF-8"},
		{"UTF-16LE", units(2, false, text), "1:1: the text is probably UTF-16; save it as UTF-8"},
		{"UTF-16BE", units(2, true, text), "1:1: the text is probably UTF-16; save it as UTF-8"},
		{"UTF-32LE", units(4, false, text), "1:1: the text is probably UTF-32; save it as UTF-8"},
		{"UTF-32BE", units(4, true, text), "1:1: the text is probably UTF-32; save it as UTF-8"},
		{"a zero", "v\x00ersion: 1\n", "1:2: control character U+0000; write it as an escape in double quotes"},
		{"zeros", "\x00\x00\x00\x00", "1:1: control character U+0000; write it as an escape in double quotes"},
		{"a short text", "v\x00", "1:2: control character U+0000; write it as an escape in double quotes"},
		{"another encoding", "# caf\xe9\n" + text, "1:6: byte 0xe9 is not UTF-8; write the value as !!binary in base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if _, err := Decode(strings.NewReader(c.text), "t", ""); err != nil {
				got, _, _ = strings.Cut(strings.TrimPrefix(err.Error(), "t:"), "\n")
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
