#include "textflag.h"

// func enter(sp unsafe.Pointer, h *program.Head, priv unsafe.Pointer, task uint64)
TEXT ·enter(SB), NOSPLIT|NOFRAME, $0-32
	MOVD sp+0(FP), R0
	MOVD h+8(FP), R1
	MOVD priv+16(FP), R2
	MOVD task+24(FP), R3
	AND  $~15, R0
	SUB  $64, R0
	MOVD R0, RSP
	MOVD ZR, R30
	MOVD R1, 8(RSP)  // 0(RSP) is where the callee keeps its link register
	MOVD R2, 16(RSP)
	MOVD R3, 24(RSP)
	MOVD $·interp(SB), R4
	CALL (R4)
	BRK
