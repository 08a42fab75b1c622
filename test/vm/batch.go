package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"regrow/test/record"
	"regrow/test/vm/job"
)

// batch is the work of one invocation, for all kernels.
type batch struct {
	options
	dir    string
	accel  string
	empty  string // initramfs with nothing to do
	setups []setup
	skip   map[string]map[string]string // by run, by test: why
	// leftOut are packages that run in no guest.
	leftOut []finding
}

// setup is one machine that each kernel boots, with its job.
type setup struct {
	name      string // for messages
	initramfs string
	memory    int // MiB
	runs      []job.Run
}

// cannot are tests that cannot run in a guest, by package.
var cannot = map[string]map[string]string{
	"restore/internal/postfork": {"TestCalls": "it reads machine code with the go command, which the guest has not"},
	"test/tally":                {"TestMissing": "it runs the go command, which the guest has not"},
}

// withoutC are tests that need a program in C.
var withoutC = map[string][]string{
	"test/e2e":    {"TestProbeInside"},
	"test/cstore": {"TestCPullsFromGo", "TestGoPullsFromC"},
}

// prepare builds everything that the machines need.
func (o options) prepare(ctx context.Context, cache, dir string) (*batch, error) {
	b := &batch{options: o, dir: dir, skip: map[string]map[string]string{}}
	w, err := newWorkshop(ctx, dir, o.arch)
	if err != nil {
		return nil, err
	}
	programs, err := userland(ctx, cache, o.arch)
	if err != nil {
		return nil, err
	}
	progress("building")
	empty, err := b.base(ctx, w)
	if err != nil {
		return nil, err
	}
	if b.empty, err = b.write(empty, "empty", nil); err != nil {
		return nil, err
	}
	img, err := b.base(ctx, w)
	if err != nil {
		return nil, err
	}
	err = errors.Join(addUserland(img, programs), w.addSource(img), addModules(img, cache, o.arch))
	if err != nil {
		return nil, err
	}
	runs, err := b.addTests(ctx, w, img)
	if err != nil {
		return nil, err
	}
	small, err := regexp.MatchString(o.run, smallTest)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(runs, func(r job.Run) bool { return r.Name == endToEnd })
	if i < 0 {
		return b, b.addFull(img, "", runs)
	}
	// These take longer than all others together, so they come first.
	err = b.addFull(img, " end to end", runs[i:i+1])
	if others := slices.Concat(runs[:i], runs[i+1:]); err == nil && len(others) > 0 {
		err = b.addFull(img, "", others)
	}
	if err == nil && small {
		err = b.addSmall(ctx, w, programs, runs[i])
	}
	return b, err
}

// endToEnd is the package of the end-to-end tests.
const endToEnd = "test/e2e"

// addFull makes a machine with a complete image.
func (b *batch) addFull(img *image, name string, runs []job.Run) (err error) {
	full := setup{name: name, memory: b.memory, runs: runs}
	full.initramfs, err = b.write(img, fmt.Sprintf("full%d", len(b.setups)), runs)
	b.setups = append(b.setups, full)
	return err
}

// base is an image with the guest's first process and regrow.
func (b *batch) base(ctx context.Context, w *workshop) (*image, error) {
	img := newImage()
	for _, dir := range merged {
		img.link(dir, "usr/"+dir)
		img.folder("usr/" + dir)
	}
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
		"etc/group":  "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
		"etc/hosts":  "127.0.0.1 localhost\n::1 localhost\n",
	} {
		img.text(name, text)
	}
	img.folder("root")
	regrow := path.Join(job.Programs, "regrow")
	img.link("usr/local/bin/regrow", regrow)
	return img, errors.Join(w.program(ctx, img, "./test/vm/guest", "/init"), w.program(ctx, img, "./cmd/regrow", regrow))
}

// softFiles and hardFiles are systemd's RLIMIT_NOFILE of a session.
const (
	softFiles = 1024
	hardFiles = 524288
)

// write writes an image with a job.
func (b *batch) write(img *image, name string, runs []job.Run) (string, error) {
	text, err := json.Marshal(job.Job{Shell: b.shell, Runs: runs, SoftFiles: softFiles, HardFiles: hardFiles})
	if err != nil {
		return "", err
	}
	img.text("job.json", string(text))
	path := filepath.Join(b.dir, name+".cpio")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	if err := img.write(out); err != nil {
		return "", err
	}
	return path, out.Flush()
}

// addTests builds the tests and makes a run of each package.
func (b *batch) addTests(ctx context.Context, w *workshop, img *image) (runs []job.Run, err error) {
	noC := ""
	for name := range cPrograms {
		if err := w.cProgram(ctx, img, name); err != nil {
			noC = fmt.Sprintf("the host has no %s that links statically", w.compiler())
			if b.arch == runtime.GOARCH {
				return nil, err
			}
		}
	}
	pkgs, not, err := w.packages(ctx, strings.Split(b.packages, ",")...)
	if err != nil {
		return nil, err
	}
	b.leftOut = not
	if len(pkgs) == 0 {
		return nil, fmt.Errorf("%w %s", errNoTests, b.packages)
	}
	for _, p := range pkgs {
		binary, err := w.testBinary(ctx, img, p)
		if err != nil {
			return nil, err
		}
		skip := maps.Clone(cannot[p.name])
		if noC != "" {
			for _, test := range withoutC[p.name] {
				if skip == nil {
					skip = map[string]string{}
				}
				skip[test] = noC
			}
		}
		b.skip[p.name] = skip
		run := job.Run{
			Name: p.name, Binary: binary, Dir: path.Join(job.Source, p.name), Run: b.run, Skip: either(slices.Sorted(maps.Keys(skip))),
			Timeout: b.timeout, Env: b.env(),
		}
		if p.draws() {
			run.Args = []string{fmt.Sprintf("-rapid.checks=%d", b.amounts().checks), fmt.Sprintf("-rapid.seed=%d", b.seed), "-rapid.nofailfile"}
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// either matches tests by their names.
func either(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// amounts is how many random cases the tests draw.
type amounts struct {
	level                                             string // of tests without a number of their own here, see test/rounds
	kills, storms, hostile, restores, checks, sockets int
	faultStep                                         int // one fault in so many
}

// Under emulation everything takes ten times as long, so a usual run has few cases.
var (
	fewRounds  = amounts{level: "few", kills: 20, storms: 6, hostile: 30, restores: 250, checks: 20, sockets: 16_400, faultStep: 10}
	hardRounds = amounts{level: "all", kills: 600, storms: 150, hostile: 3000, restores: 3000, checks: 1000, sockets: 20_000, faultStep: 1}
)

func (b *batch) amounts() amounts {
	if b.hard {
		return hardRounds
	}
	return fewRounds
}

// env returns the environment of the tests: the paths in the guest, and how many cases to
// draw.
func (b *batch) env() []string {
	r := b.amounts()
	return []string{
		"REGROW_TEST_ROOT=1", "REGROW_TEST_VM=1", "REGROW_TEST_ROUNDS=" + r.level, "REGROW_TEST_PROGRAMS=" + job.Programs, fmt.Sprintf("REGROW_TEST_SEED=%d", b.seed),
		fmt.Sprintf("REGROW_TEST_KILLS=%d", r.kills), fmt.Sprintf("REGROW_TEST_STORMS=%d", r.storms),
		fmt.Sprintf("REGROW_TEST_HOSTILE=%d", r.hostile), fmt.Sprintf("REGROW_TEST_RESTORES=%d", r.restores),
		fmt.Sprintf("REGROW_TEST_SOCKETS=%d", r.sockets), fmt.Sprintf("REGROW_TEST_FAULT_STEP=%d", r.faultStep),
	}
}

// smallTest is the test that needs a machine with very little memory.
const smallTest = "TestSmallMachine"

// addSmall makes a machine with little more memory than the kernel needs, and with only
// busybox's programs.
func (b *batch) addSmall(ctx context.Context, w *workshop, programs string, run job.Run) error {
	img, err := b.base(ctx, w)
	if err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(programs, "busybox-static_*/*bin/busybox"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d programs busybox in %s", len(found), programs)
	}
	if err != nil {
		return err
	}
	err = errors.Join(
		img.add("usr/bin/busybox", found[0]),
		img.add(run.Binary[1:], filepath.Join(b.dir, path.Base(run.Binary))),
	)
	if err != nil {
		return err
	}
	for _, name := range []string{"sh", "cat", "sleep", "true"} {
		img.link("usr/bin/"+name, "busybox")
	}
	img.text("go.mod", "") // test/inflight locks it
	run.Name += " in 128 MiB"
	run.Dir = "/"
	run.Run = "^" + smallTest + "$"
	run.Env = append(slices.Clone(run.Env), "REGROW_TEST_SMALL=1")
	small := setup{name: " in 128 MiB", memory: 128, runs: []job.Run{run}}
	small.initramfs, err = b.write(img, "small", small.runs)
	b.setups = append(b.setups, small)
	return err
}

// all boots each kernel with each setup, several machines at a time, and prints the
// results, kernel by kernel.
func (b *batch) all(ctx context.Context, kernels []kernel) (ok bool, err error) {
	began := time.Now()
	tried := make([][]trial, len(kernels)) // by kernel and setup; each machine writes its own
	for i := range tried {
		tried[i] = make([]trial, len(b.setups))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(b.atOnce)
	for s := range b.setups {
		for i, k := range slices.Backward(kernels) { // the last one runs everything, and takes longest
			group.Go(func() (err error) {
				tried[i][s], err = b.try(ctx, k, b.setups[s], b.share(kernels, i))
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		for i, k := range kernels {
			for _, t := range tried[i] {
				t.verdict.print(k.name) // print the results of the other machines, too
			}
		}
		return false, err
	}
	progress("%d machines took %.0f s", len(kernels)*len(b.setups), time.Since(began).Seconds())
	ok = true
	table := newTable()
	var sums []string
	for i, k := range kernels {
		all := verdict{skipped: slices.Clone(b.leftOut)}
		release, again := "", 0
		for _, t := range tried[i] {
			all.add(t.verdict)
			again += t.again
			if err := record.Passed(t.results.passed()...); err != nil {
				return false, err
			}
			release = cmp.Or(release, t.results.release)
			for _, text := range t.results.measures() {
				fmt.Printf("     %s  %s\n", k.name, text)
			}
		}
		table.add(release, tried[i])
		all.print(k.name)
		sums = append(sums, fmt.Sprintf("%s %s: %d passed, %d failed, %d skipped, %d boots tried again", k.name, release, all.passed, len(all.failed), len(all.skipped), again))
		ok = ok && len(all.failed) == 0
	}
	if len(table.features) > 0 {
		fmt.Printf("\n%s\n", table.markdown())
		if b.whole() {
			if err := table.write("docs/kernels.md"); err != nil {
				return false, err
			}
		}
	}
	fmt.Println(strings.Join(sums, "\n"))
	return ok, nil
}
