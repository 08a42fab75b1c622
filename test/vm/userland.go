package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// userlandSuite is Debian's suite of the guest's programs, for all kernels.
const userlandSuite = "bookworm"

// outside are the packages with programs for tests and for the shell.
var outside = []string{
	"bash", "bsdutils", "busybox-static", "coreutils", "dash", "findutils", "grep", "mount", "procps", "sed",
	"strace", "util-linux", "util-linux-extra",
}

// userland returns the folder with the guest's packages, each unpacked into a subfolder.
func userland(ctx context.Context, cache, arch string) (string, error) {
	// The name depends on the list, so that a changed list is not served from the cache.
	sum := crc32.ChecksumIEEE([]byte(strings.Join(outside, " ")))
	dir := filepath.Join(cache, "userland", fmt.Sprintf("%s-%s-%08x", userlandSuite, arch, sum))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	progress("fetching the guest's programs for %s", arch)
	a, err := openApt(ctx, cache, userlandSuite, arch)
	if err != nil {
		return "", err
	}
	debs, err := a.download(ctx, true, outside...)
	if err != nil {
		return "", err
	}
	return dir, unpackInto(ctx, dir, debs)
}

// wanted reports whether the guest needs a file of a package.
func wanted(name string) bool {
	for _, prefix := range []string{
		"usr/share/", "usr/include/", "usr/lib/systemd/", "usr/lib/udev/", "usr/lib/locale/", "usr/games/",
		"etc/init.d/", "etc/cron", "etc/systemd/", "var/",
	} {
		if strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return !strings.Contains(name, "/gconv/") && !strings.Contains(name, "/perl")
}

// addUserland adds the packages to an image.
func addUserland(img *image, dir string) error {
	packages, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, p := range packages {
		root := filepath.Join(dir, p.Name())
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || file == root || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			name := usrMerged(filepath.ToSlash(rel))
			if !wanted(name) {
				return nil
			}
			return img.add(name, file)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// merged are the folders of the root that are links into usr in Debian.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// usrMerged returns the final path of a file in a package.
func usrMerged(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(merged, first) {
		return path.Join("usr", name)
	}
	return name
}
