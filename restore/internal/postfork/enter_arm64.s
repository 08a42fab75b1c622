#include "textflag.h"
#include "go_asm.h"

// fork is called by a func value, so its arguments come in the registers of Go's
// internal ABI: R0 nr, R1 to R4 the call's first four, R5 h, R6 task. The result
// is the kernel's, in R0. clone(2) takes child_tid as its fifth argument here.
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
	JMP  begin<>(SB)

// begin starts the interpreter of a task, R10, on the stack of its private page. R9
// is h. The interpreter takes its arguments in the registers of Go's internal ABI
// and gets no g, which code that may not split its stack does not look at.
TEXT begin<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD R9, R0
	MOVD const_headPrivate(R9), R1
	MOVD R10, R2
	ADD  $const_privateSize, R1, R3
	SUB  $64, R3
	MOVD R3, RSP
	MOVD ZR, R30
	MOVD const_headInterp(R9), R4
	CALL (R4)
	BRK

// func forkAddress() uint64
TEXT ·forkAddress(SB), NOSPLIT, $0-8
	MOVD $fork<>(SB), R0
	MOVD R0, ret+0(FP)
	RET
