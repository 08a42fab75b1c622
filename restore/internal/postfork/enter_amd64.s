#include "textflag.h"
#include "go_asm.h"

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

// fork is called by a func value, so its arguments come in the registers of Go's
// internal ABI: AX nr, BX, CX, DI, SI the call's first four, R8 h, R9 task. The
// result is the kernel's, in AX. The child calls interp by the same rules, with
// no g, which code that may not split its stack does not look at.
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
	MOVQ R12, AX
	MOVQ const_headPrivate(R12), BX
	MOVQ R13, CX
	LEAQ const_privateSize(BX), SP
	SUBQ $64, SP // room where interp may keep what came in registers
	XORL BP, BP
	XORPS X15, X15
	MOVQ const_headInterp(R12), R12
	CALL R12
	INT  $3

// func forkAddress() uint64
TEXT ·forkAddress(SB), NOSPLIT, $0-8
	LEAQ fork<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET
