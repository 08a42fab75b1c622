// Command guest is the first process of a virtual machine that tests regrow. It mounts
// file systems, does its Job, sends the results over a serial port, and powers the machine
// off. If it ends in any other way, the kernel panics, and for the host the machine has
// died.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"regrow/test/vm/job"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: is the first process of a virtual machine; start one with make test-vm or make vm-shell")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "guest:", run())
	os.Exit(1) // the kernel panics
}

// run returns only with an error.
func run() error {
	if err := setUp(); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	go reapOrphans()
	j, err := job.Load()
	if err != nil {
		return err
	}
	// This also prevents os/exec from restoring in children the limit with which this
	// process was started.
	limit := unix.Rlimit{Cur: j.SoftFiles, Max: j.HardFiles}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	if j.Shell {
		err = shell()
	} else {
		err = doRuns(j.Runs)
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("reboot", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
}
