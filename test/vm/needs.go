package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// need is something that machines require from the host, and the Debian package that has
// it.
type need struct {
	what, pkg string
	there     func() error
}

// program is a need for a program in PATH.
func program(name, pkg string) need {
	return need{name, pkg, func() error { _, err := exec.LookPath(name); return err }}
}

// needs are those of an architecture.
func needs(arch string) []need {
	all := []need{
		program(models[arch].program, models[arch].pkg),
		program("apt-get", "apt"),
		program("dpkg-deb", "dpkg"),
		{"the keys of Debian's archive", "debian-archive-keyring", func() error { _, err := os.Stat(keyring); return err }},
	}
	if arch == runtime.GOARCH { // otherwise tests with programs in C are left out, see addTests
		all = append(all, program("cc", "gcc libc6-dev"))
	}
	return all
}

// lackError lists everything that is lacking, in one line.
type lackError []need

func (e lackError) Error() string {
	var what, pkgs []string
	for _, n := range e {
		what, pkgs = append(what, n.what), append(pkgs, n.pkg)
	}
	return fmt.Sprintf("machines need %s; install with: apt-get install %s", strings.Join(what, ", "), strings.Join(pkgs, " "))
}

// lacking returns an error that names what is missing, or nil.
func lacking(all []need) error {
	var not lackError
	for _, n := range all {
		if n.there() != nil {
			not = append(not, n)
		}
	}
	if len(not) == 0 {
		return nil
	}
	return not
}
