package recipe

import "encoding/binary"

// Later is a part of a struct that is known only when the call is made: 4 bytes.
type Later struct {
	Arg
	Offset int // from the start of the struct
}

// Pack returns the bytes of a struct with these parts, and the parts that must be written
// later; their bytes are 0. put copies bytes to which a part points, and returns their
// address.
func Pack(parts []Arg, put func([]byte) uint64) (data []byte, later []Later) {
	for _, part := range parts {
		switch part.Kind {
		case ArgInt:
			data = binary.NativeEndian.AppendUint64(data, uint64(part.Int))
		case ArgData:
			data = append(data, part.Data...)
		case ArgPointer:
			data = binary.NativeEndian.AppendUint64(data, put(part.Data))
		case ArgOut:
			data = binary.NativeEndian.AppendUint64(data, uint64(part.Cell))
		case ArgFD, ArgCell, ArgTask:
			later = append(later, Later{part, len(data)})
			data = append(data, 0, 0, 0, 0)
		default:
			panic("restore: bug: a struct has no part of this kind")
		}
	}
	return data, later
}
