package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"regrow/test/vm/job"
)

// model is a kind of machine that QEMU emulates.
type model struct {
	program string
	pkg     string // Debian's, with the program
	args    []string
	console string   // the kernel's name of the first serial port
	results string   // the kernel's name of the second serial port
	port    []string // QEMU's flags for the second port, on the character device "results"
}

// models are the machines by Go's name of the architecture. The processors are simple
// ones, because the simpler an emulated processor, the faster it is.
var models = map[string]model{
	"amd64": {
		program: "qemu-system-x86_64", pkg: "qemu-system-x86",
		args:    []string{"-machine", "pc", "-cpu", "max"},
		console: "ttyS0", results: "/dev/ttyS1",
		port: []string{"-serial", "chardev:results"},
	},
	"arm64": {
		program: "qemu-system-aarch64", pkg: "qemu-system-arm",
		args:    []string{"-machine", "virt", "-cpu", "cortex-a72"},
		console: "ttyAMA0", results: "/dev/ttyS0",
		port: []string{"-device", "pci-serial,chardev=results"},
	},
}

// machine is a virtual machine that can be started.
type machine struct {
	arch      string
	accel     string        // tcg, or kvm if that works
	kernel    string        // path
	initramfs string        // path
	memory    int           // MiB
	told      string        // additions to the kernel's command line
	dir       string        // folder of the console's text
	silence   time.Duration // after which it counts as dead, 0 for the default
}

// bootLimit and usualSilence are how long a machine may take to send its first line and
// each later one. They are long, because the host may be busy.
const (
	bootLimit    = 4 * time.Minute
	usualSilence = 2 * time.Minute
)

// commandLine returns the kernel's command line. A warning is a panic, and a panic ends the
// machine. The watchdogs for stuck processors are off: they would only measure the host.
func (m *machine) commandLine(more string) string {
	return strings.Join([]string{
		"console=" + models[m.arch].console, "loglevel=5", "panic=-1", "panic_on_warn=1", "oops=panic",
		"nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1", "mitigations=off", "random.trust_cpu=on", "slab_nomerge",
		more,
	}, " ")
}

func (m *machine) args(commandLine string) []string {
	accel := m.accel
	if accel == "tcg" {
		accel = "tcg,thread=multi"
	}
	return append(append([]string{}, models[m.arch].args...),
		"-accel", accel, "-smp", "2", "-m", strconv.Itoa(m.memory), "-no-reboot", "-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", m.kernel, "-initrd", m.initramfs, "-append", commandLine)
}

func (m *machine) consolePath() string { return filepath.Join(m.dir, "console.txt") }

// badWords are the beginnings of a kernel's messages about a fault of its own.
var badWords = regexp.MustCompile(`(?m)^.*(WARNING: (CPU|possible|suspicious|bad)|BUG: |Kernel panic|Oops|general protection fault|refcount_t: |INFO: task .* blocked).*$`)

// complaints returns the lines in which the kernel complained, and the last lines
// of the console after the first of them.
func (m *machine) complaints() []string {
	text, err := os.ReadFile(m.consolePath())
	if err != nil {
		return []string{err.Error()}
	}
	clean := strings.ReplaceAll(string(text), "\r", "")
	at := badWords.FindStringIndex(clean)
	if at == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(clean[at[0]:]), "\n")
	return lines[:min(len(lines), 60)]
}

// strayBreakpoint is how a kernel reports a breakpoint that no longer exists: the kernel
// has set it itself while it changed its code, and has removed it.
var strayBreakpoint = regexp.MustCompile(`(?m)^.*(Oops: int3|int3): 0000 \[#1\]`)

// miscompiled reports whether the emulator has broken the kernel, and there was no fault
// before. While the kernel changes its own code on one processor and others execute it,
// QEMU 7.2 sometimes executes the old translation.
func (m *machine) miscompiled() bool {
	text, err := os.ReadFile(m.consolePath())
	if err != nil || m.accel != "tcg" {
		return false
	}
	stray, bad := strayBreakpoint.FindIndex(text), badWords.FindIndex(text)
	return stray != nil && (bad == nil || stray[0] <= bad[0])
}

// tail returns the last lines of the console.
func (m *machine) tail() string {
	text, err := os.ReadFile(m.consolePath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r", "")), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// boot starts the machine and passes each message to take, until the machine is off. The
// error is a failure of the machine; failures of its tests are not considered.
func (m *machine) boot(ctx context.Context, take func(job.Message) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	args := append(m.args(m.commandLine(job.Results+"="+models[m.arch].results+" "+m.told)),
		"-serial", "file:"+m.consolePath(), "-chardev", "stdio,id=results,signal=off")
	cmd := exec.CommandContext(ctx, models[m.arch].program, append(args, models[m.arch].port...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	silence := cmp.Or(m.silence, usualSilence)
	watchdog := time.AfterFunc(bootLimit, func() { cancel(fmt.Errorf("the machine did not boot within %v", bootLimit)) })
	defer watchdog.Stop()
	last := job.Message{}
	lines := bufio.NewReader(out)
	var readErr error
	for readErr == nil {
		var line []byte
		if line, readErr = lines.ReadBytes('\n'); readErr != nil {
			break // the machine is off
		}
		watchdog.Stop()
		watchdog = time.AfterFunc(silence, func() { cancel(fmt.Errorf("the machine has been silent for %v", silence)) })
		var msg job.Message
		if err := json.Unmarshal(line, &msg); err != nil {
			readErr = fmt.Errorf("line from the machine: %w: %q", err, line)
			cancel(readErr)
			break
		}
		if msg.Kind != job.Alive {
			last = msg
		}
		if err := take(msg); err != nil {
			readErr = err
			cancel(err)
		}
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w\n%s", models[m.arch].program, err, stderr.String())
	case last.Kind == job.Error:
		return fmt.Errorf("the guest: %s", last.Text)
	case last.Kind != job.Done:
		return errors.New("the machine died")
	}
	return nil
}

// shell starts the machine with its console on the terminal.
func (m *machine) shell(ctx context.Context) error {
	args := append(m.args(m.commandLine("regrow_shell=/dev/"+models[m.arch].console)), "-serial", "mon:stdio")
	cmd := exec.CommandContext(ctx, models[m.arch].program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// accelerator returns kvm if a machine with it boots and ends without an error, else tcg:
// that the device exists is not enough.
func accelerator(ctx context.Context, m machine) string {
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		m.accel = "kvm"
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := m.boot(ctx, func(job.Message) error { return nil }); err == nil {
			return "kvm"
		}
	}
	return "tcg"
}
