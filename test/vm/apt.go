package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// apt is Debian's package manager with a source list and folders of its own. It can use
// another suite or architecture than the system's, and does not change the system.
type apt struct {
	dir         string // everything lies in it
	suite, arch string
}

const (
	debian         = "http://deb.debian.org/debian"
	debianSecurity = "http://deb.debian.org/debian-security"
	keyring        = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// mirrors returns the addresses of Debian's packages: those of this system's own packages,
// or else Debian's default.
func mirrors(ctx context.Context) (main, security string) {
	main, security = debian, debianSecurity
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages").Output()
	if err != nil {
		return main, security // a system without apt fails at the next step
	}
	for line := range strings.Lines(string(out)) {
		site, release, _ := strings.Cut(strings.TrimSpace(line), " ")
		site = strings.TrimSuffix(site, "/")
		switch {
		case strings.HasSuffix(site, "/debian-security") && strings.HasSuffix(release, "-security"):
			security = site
		case strings.HasSuffix(site, "/debian"):
			main = site
		}
	}
	return main, security
}

// openApt makes the folders and fetches the lists.
func openApt(ctx context.Context, cache, suite, arch string) (*apt, error) {
	a := &apt{dir: filepath.Join(cache, "apt", suite+"-"+arch), suite: suite, arch: arch}
	for _, dir := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	main, security := mirrors(ctx)
	var b strings.Builder
	for _, s := range [][2]string{{main, suite}, {security, suite + "-security"}} {
		fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n\n", s[0], s[1], keyring)
	}
	err := errors.Join(
		os.WriteFile(a.path("debian.sources"), []byte(b.String()), 0o644),
		os.WriteFile(a.path("status"), nil, 0o644),
	)
	if err != nil {
		return nil, err
	}
	_, err = a.run(ctx, "apt-get", "update", "--error-on=any")
	return a, err
}

func (a *apt) path(name string) string { return filepath.Join(a.dir, name) }

// run runs one of apt's programs. It retries, because a mirror may fail temporarily.
func (a *apt) run(ctx context.Context, program string, args ...string) (string, error) {
	options := []string{
		"Dir::Etc::sourcelist=" + a.path("debian.sources"), "Dir::Etc::sourceparts=-",
		"Dir::State=" + a.dir, "Dir::State::lists=" + a.path("lists"), "Dir::State::status=" + a.path("status"),
		"Dir::Cache=" + a.dir, "Dir::Cache::archives=" + a.path("archives"),
		"APT::Architecture=" + a.arch, "APT::Architectures=" + a.arch,
		"APT::Install-Recommends=false", "APT::Sandbox::User=", "APT::Get::AllowUnauthenticated=false",
		"Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::Retries=3", "Acquire::http::Timeout=30", "Binary::apt-get::APT::Keep-Downloaded-Packages=true",
	}
	var all []string
	for _, o := range options {
		all = append(all, "-o", o)
	}
	all = append(all, args...)
	for try := 1; ; try++ {
		cmd := exec.CommandContext(ctx, program, all...)
		cmd.Dir = a.path("archives") // apt-get download writes here
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err == nil {
			return string(out), nil
		}
		if try < 3 && ctx.Err() == nil {
			progress("%s %s for %s/%s failed, try %d of 3: %v", program, args[0], a.suite, a.arch, try+1, err)
		} else {
			return "", fmt.Errorf("%s %s for %s/%s: %w\n%s%s", program, args[0], a.suite, a.arch, err, out, stderr.String())
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * 5 * time.Second):
		}
	}
}

// depends returns the packages that a package needs by name.
func (a *apt) depends(ctx context.Context, pkg string) ([]string, error) {
	out, err := a.run(ctx, "apt-cache", "depends", pkg)
	var names []string
	for line := range strings.Lines(out) {
		if _, name, ok := strings.Cut(line, "Depends: "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names, err
}

// download fetches packages, with their dependencies if asked, checks them against the
// signed lists, and returns the paths of the files.
func (a *apt) download(ctx context.Context, needs bool, pkgs ...string) ([]string, error) {
	old, err := filepath.Glob(a.path("archives/*.deb"))
	if err != nil {
		return nil, err
	}
	for _, deb := range old {
		if err := os.Remove(deb); err != nil {
			return nil, err
		}
	}
	command := []string{"download"}
	if needs {
		command = []string{"install", "--download-only", "--yes"}
	}
	if _, err := a.run(ctx, "apt-get", append(command, pkgs...)...); err != nil {
		return nil, err
	}
	debs, err := filepath.Glob(a.path("archives/*.deb"))
	slices.Sort(debs)
	return debs, err
}

// unpack unpacks packages into a new folder, without running any of their scripts.
func unpack(ctx context.Context, dir string, debs ...string) error {
	for _, deb := range debs {
		sub := filepath.Join(dir, strings.TrimSuffix(filepath.Base(deb), ".deb"))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", deb, sub).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg-deb --extract %s: %w\n%s", deb, err, out)
		}
	}
	return nil
}
