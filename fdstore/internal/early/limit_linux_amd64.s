#include "textflag.h"

#define SYS_prlimit64 302
#define RLIMIT_NOFILE 7

// func getrlimitFiles(lim *[2]uint64) uintptr
TEXT ·getrlimitFiles(SB), NOSPLIT, $0-16
	MOVQ $0, DI
	MOVQ $RLIMIT_NOFILE, SI
	MOVQ $0, DX
	MOVQ lim+0(FP), R10
	MOVQ $SYS_prlimit64, AX
	SYSCALL
	NEGQ AX
	MOVQ AX, ret+8(FP)
	RET
