//go:build cgo

package memory

import _ "runtime/cgo" // links the C library, as net does for regrow

const linksC = true
