#include "textflag.h"
#include "go_asm.h"

// fork is called by a func value, so its arguments come in the registers of Go's
// internal ABI: AX nr, BX, CX, DI, SI the call's first four, R8 h, R9 task. The
// result is the kernel's, in AX.
TEXT fork<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ SI, R10
	MOVQ DI, DX
	MOVQ CX, SI
	MOVQ BX, DI
	MOVQ R8, R12
	MOVQ R9, R13
	SYSCALL
	TESTQ AX, AX
	JEQ  child
	RET
child:
	JMP  begin<>(SB)

// begin starts the interpreter of a task, R13, on the stack of its private page. R12
// is h. The interpreter takes its arguments in the registers of Go's internal ABI
// and gets no g, which code that may not split its stack does not look at. The call
// is indirect, so the linker does not add the frames of the old stack to those of
// the new one.
TEXT begin<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ R12, AX
	MOVQ const_headPrivate(R12), BX
	MOVQ R13, CX
	LEAQ const_privateSize(BX), SP
	SUBQ $64, SP // room where the interpreter may keep what came in registers
	XORPS X15, X15
	MOVQ const_headInterp(R12), R12
	CALL R12
	INT  $3

// func forkAddress() uint64
TEXT ·forkAddress(SB), NOSPLIT, $0-8
	LEAQ fork<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
