package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kernel is a kernel that a machine can boot.
type kernel struct {
	name  string // as given by the user
	image string // path of the bzImage, or of the Image on arm64
}

// suites are Debian's kernels by version, each with its suite.
var suites = map[string]string{"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie"}

// versions returns the versions of Debian's kernels, oldest first.
func versions() []string {
	return slices.SortedFunc(maps.Keys(suites), func(a, b string) int {
		var a1, a2, b1, b2 int
		_, errA := fmt.Sscanf(a, "%d.%d", &a1, &a2)
		_, errB := fmt.Sscanf(b, "%d.%d", &b1, &b2)
		if errA != nil || errB != nil {
			panic("a version is not two numbers")
		}
		return (a1-b1)*1000 + a2 - b2
	})
}

// kernelsOf parses the user's choice: versions or paths separated by commas, or all, or
// newest.
func kernelsOf(ctx context.Context, cache, arch, names string) ([]kernel, error) {
	switch names {
	case "", "all":
		names = strings.Join(versions(), ",")
	case "newest":
		names = versions()[len(suites)-1]
	}
	var kernels []kernel
	for name := range strings.SplitSeq(names, ",") {
		if _, ok := suites[name]; !ok {
			if _, err := os.Stat(name); err != nil {
				return nil, fmt.Errorf("kernel %q is not one of %s, all, newest, and not a file: %w", name, strings.Join(versions(), ", "), err)
			}
			kernels = append(kernels, kernel{name: filepath.Base(name), image: name})
			continue
		}
		image, err := debianKernel(ctx, cache, arch, name)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", name, err)
		}
		kernels = append(kernels, kernel{name: name, image: image})
	}
	return kernels, nil
}

// debianKernel returns the image of one of Debian's cloud kernels, from the cache or the
// archive.
func debianKernel(ctx context.Context, cache, arch, version string) (string, error) {
	dir := filepath.Join(cache, "kernels", version+"-"+arch)
	image := func() (string, error) {
		found, err := filepath.Glob(filepath.Join(dir, "*/boot/vmlinuz-*"))
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("%d images in %s", len(found), dir)
		}
		return strings.Join(found, " "), err
	}
	if _, err := os.Stat(dir); err == nil {
		return image()
	}
	progress("fetching Linux %s for %s", version, arch)
	a, err := openApt(ctx, cache, suites[version], arch)
	if err != nil {
		return "", err
	}
	// The package depends on the package with the newest image.
	names, err := a.depends(ctx, "linux-image-cloud-"+arch)
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		return "", fmt.Errorf("linux-image-cloud-%s depends on %q, not on one package", arch, names)
	}
	debs, err := a.download(ctx, false, names[0])
	if err != nil {
		return "", err
	}
	if err := unpackInto(ctx, dir, debs); err != nil {
		return "", err
	}
	return image()
}

// unpackInto unpacks into a folder that appears only when it is complete.
func unpackInto(ctx context.Context, dir string, debs []string) error {
	if len(debs) == 0 {
		return errors.New("apt-get downloaded nothing")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".unpack")
	if err != nil {
		return err
	}
	err = unpack(ctx, tmp, debs...)
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		err = errors.Join(err, os.RemoveAll(tmp))
		if errors.Is(err, os.ErrExist) { // another process was faster
			return nil
		}
		return err
	}
	for _, deb := range debs {
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	return nil
}

// modules are those that a kernel would load by itself, had the guest what it loads them
// with: by them the kernel shows what sockets are connected to.
var modules = []string{"net/unix/unix_diag.ko"}

// addModules puts the modules of all kernels that were fetched into an image, as
// /lib/modules/RELEASE/NAME.
func addModules(img *image, cache, arch string) error {
	for _, name := range modules {
		for _, lib := range []string{"lib", "usr/lib"} { // Debian has moved them
			found, err := filepath.Glob(filepath.Join(cache, "kernels", "*-"+arch, "*", lib, "modules/*/kernel", name+"*"))
			if err != nil {
				return err
			}
			for _, file := range found {
				_, below, _ := strings.Cut(file, "/modules/")
				release, _, _ := strings.Cut(below, "/")
				if err := img.add("usr/lib/modules/"+release+"/"+filepath.Base(file), file); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
