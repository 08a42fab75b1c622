package runner

import (
	"fmt"

	"regrow/restore/internal/program"
	"regrow/restore/internal/safepath"
)

// tellProcs tells the tasks where a procfs is.
func (l *loaded) tellProcs(h *program.Head, opener *safepath.Opener) error {
	if !l.plan.TasksLook {
		return nil
	}
	procs, err := opener.Procs()
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	copy(h.FDFolder[:], program.FDFolder)
	putProcs(h, l.arena.Bytes()[program.ProcMounts:program.ProcMountsEnd], procs)
	return nil
}

// putProcs writes the mounts of procfs to table. A mount for which there is no room is
// left out: what lies there is refused.
func putProcs(h *program.Head, table []byte, procs safepath.Procs) {
	devs := map[uint64]bool{}
	for _, m := range procs {
		if devs[m.Dev] {
			continue
		}
		devs[m.Dev] = true
		if h.NProcDevs < program.MaxProcDevs {
			h.ProcDevs[h.NProcDevs] = m.Dev
		}
		h.NProcDevs++
	}
	for _, m := range procs {
		next := program.ProcMountSize + (len(m.Point)+7)&^7
		if next+program.ProcMountSize > len(table) {
			return
		}
		program.PutProcMount(table, program.ProcMount{Dev: m.Dev, Next: uint32(next), Len: uint16(len(m.Point)), Part: uint16(m.Part)}, m.Point)
		table = table[next:]
	}
}
