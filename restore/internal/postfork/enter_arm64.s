#include "textflag.h"
#include "go_asm.h"

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

// fork is called by a func value, so its arguments come in the registers of Go's
// internal ABI: R0 nr, R1 to R4 the call's first four, R5 h, R6 task. The result
// is the kernel's, in R0. The child calls interp by the same rules, with no g,
// which code that may not split its stack does not look at. clone(2) takes
// child_tid as its fifth argument here.
TEXT fork<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R0, R8
	MOVD R1, R0
	MOVD R2, R1
	MOVD R3, R2
	MOVD R4, R3
	MOVD R5, R9
	MOVD R6, R10
	MOVD R3, R4
	SVC
	CBZ  R0, child
	RET
child:
	MOVD R9, R0
	MOVD const_headPrivate(R9), R1
	MOVD R10, R2
	ADD  $const_privateSize, R1, R3
	SUB  $64, R3
	MOVD R3, RSP
	MOVD ZR, R29
	MOVD ZR, R30
	MOVD const_headInterp(R9), R4
	CALL (R4)
	BRK

// func forkAddress() uint64
TEXT ·forkAddress(SB), NOSPLIT, $0-8
	MOVD $fork<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
