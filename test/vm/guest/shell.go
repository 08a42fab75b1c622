package main

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// shell runs a shell on the console until it ends.
func shell() error {
	console, err := os.OpenFile("/dev/console", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer console.Close()
	// /dev/console cannot be a controlling terminal, but the device behind it can.
	cmd := exec.Command("/usr/bin/setsid", "--ctty", "--wait", "/bin/bash", "--login")
	if path := os.Getenv("regrow_shell"); path != "" {
		tty, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer tty.Close()
		console = tty
	}
	cmd.Dir = "/src"
	cmd.Env = append(os.Environ(), "PS1=regrow-vm:\\w# ")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = console, console, console
	if err := startOwn(cmd); err != nil {
		return err
	}
	_ = waitOwn(cmd) // its status does not matter
	return nil
}
