#include "textflag.h"

// func enter(sp unsafe.Pointer, h *program.Head, priv unsafe.Pointer, task uint64)
//
// The call is indirect, so the linker does not add the frames of the old stack
// to those of the new one. interp is reached through its ABI0 wrapper, which
// loads g from thread-local memory: that is still mapped here.
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-32
	MOVQ sp+0(FP), AX
	MOVQ h+8(FP), BX
	MOVQ priv+16(FP), CX
	MOVQ task+24(FP), DI
	MOVQ AX, SP
	ANDQ $~15, SP
	SUBQ $64, SP
	MOVQ BX, 0(SP)
	MOVQ CX, 8(SP)
	MOVQ DI, 16(SP)
	LEAQ ·interp(SB), AX
	CALL AX
	INT  $3
