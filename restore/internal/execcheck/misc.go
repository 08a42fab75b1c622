package execcheck

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
)

// Misc is an entry of binfmt_misc: a format of programs that another program executes,
// recognized by bytes in the file or by the end of its name.
type Misc struct {
	any       bool // it was not understood, so it may match any file
	extension string
	offset    int
	magic     []byte
	mask      []byte // of the same length, or nil
}

// ParseMisc parses an entry of /proc/sys/fs/binfmt_misc, and reports whether it is enabled. An
// entry that it does not understand matches every file.
//
//	enabled
//	interpreter /usr/bin/qemu-aarch64
//	flags: F
//	offset 0
//	magic 7f454c460201
//	mask ffffffffffff
func ParseMisc(entry string) (m Misc, enabled bool) {
	status, rest, _ := strings.Cut(entry, "\n")
	if status != "enabled" {
		return Misc{}, false
	}
	for line := range strings.Lines(rest) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var err error
		switch key {
		case "extension":
			m.extension = strings.TrimPrefix(value, ".")
		case "offset":
			m.offset, err = strconv.Atoi(value)
		case "magic":
			m.magic, err = hex.DecodeString(value)
		case "mask":
			m.mask, err = hex.DecodeString(value)
		}
		m.any = m.any || err != nil
	}
	if m.extension == "" && len(m.magic) == 0 || m.mask != nil && len(m.mask) != len(m.magic) ||
		m.offset < 0 || m.offset+len(m.magic) > HeadSize {
		m.any = true
	}
	return m, true
}

// Takes reports whether the entry matches a file with this path and these first bytes.
func (m Misc) Takes(path string, head []byte) bool {
	if m.any {
		return true
	}
	if m.extension != "" {
		dot := strings.LastIndexByte(path, '.')
		return dot >= 0 && path[dot+1:] == m.extension
	}
	var buf [HeadSize]byte
	copy(buf[:], head)
	at := buf[m.offset:][:len(m.magic)]
	if m.mask == nil {
		return bytes.Equal(at, m.magic)
	}
	for i, c := range at {
		if (c^m.magic[i])&m.mask[i] != 0 {
			return false
		}
	}
	return true
}

// Foreign reports whether an entry that cannot be read is likely to match a file: the
// file is neither a script nor a binary for this machine, and its first bytes are not
// text, or its name has an extension.
func Foreign(path string, head []byte, arch Arch) bool {
	var buf [HeadSize]byte
	copy(buf[:], head)
	switch {
	case buf[0] == '#' && buf[1] == '!':
		return false
	case string(buf[:len(elfMagic)]) == elfMagic:
		return order.Uint16(buf[offMachine:]) != arch.Machine
	}
	const told = 4 // bytes; the kernel uses as many to ask for a module
	for _, c := range head[:min(told, len(head))] {
		if c != '\t' && c != '\n' && (c < ' ' || c > '~') {
			return true
		}
	}
	return strings.Contains(path[strings.LastIndexByte(path, '/')+1:], ".")
}
