package model_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"regrow/fdstore"
	"regrow/fdstore/wire"
	"regrow/restore/internal/model"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
	"regrow/test/rounds"
)

// kernel runs the programs of tasks like the kernel, as far as descriptor tables are
// concerned: it assigns numbers by the kernel's rule, and compares the result of a call
// with the plan only afterwards. It shares no code with the model, and uses no notes,
// effects or description.
type kernel struct {
	plan   *plan.Plan
	tables []map[int]held // by task; tasks may have one table
	pcs    []int
	over   []bool
	counts map[uint64]uint32
	opened map[string]int // how often a task has opened something
	limits []uint64
	ready  []int // by task: how often it has counted itself
	past   []bool
}

type held struct {
	what    string
	cloexec bool
}

// outcome returns the final tables of the tasks, or the reason why they fail.
func outcome(p *plan.Plan) string {
	n := len(p.Tasks)
	k := &kernel{
		plan: p, tables: make([]map[int]held, n), pcs: make([]int, n), over: make([]bool, n),
		counts: map[uint64]uint32{}, opened: map[string]int{}, limits: make([]uint64, n),
		ready: make([]int, n), past: make([]bool, n),
	}
	k.tables[0], k.limits[0] = map[int]held{}, p.Host.HardFiles
	order := []int{0} // the last one runs next
	for steps := 0; len(order) > 0; steps++ {
		if steps > 1_000_000 {
			return "fails: it never ends"
		}
		i := order[len(order)-1]
		child, err := k.run(i)
		switch {
		case err != nil:
			return fmt.Sprintf("fails: task %d, op %d: %v", i, k.pcs[i], err)
		case child >= 0:
			order = append(order, child)
		case k.over[i]:
			order = order[:len(order)-1]
		default: // it waits for another task
			if len(order) > 1 {
				order = append([]int{i}, order[:len(order)-1]...)
			}
			if !slices.ContainsFunc(order, k.canGoOn) {
				return "fails: all wait"
			}
		}
	}
	var b strings.Builder
	for i, table := range k.tables {
		if table == nil {
			return fmt.Sprintf("fails: task %d is never forked", i)
		}
		if k.ready[i] != 1 || !k.past[i] {
			return fmt.Sprintf("fails: task %d counts %d times, and waits at the gate: %v", i, k.ready[i], k.past[i])
		}
		fmt.Fprintf(&b, "task %d:", i)
		for _, fd := range slices.Sorted(maps.Keys(table)) {
			fmt.Fprintf(&b, " %d=%v", fd, table[fd])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (k *kernel) canGoOn(i int) bool {
	if k.pcs[i] >= len(k.plan.Tasks[i].Ops) {
		return true
	}
	op := &k.plan.Tasks[i].Ops[k.pcs[i]]
	switch op.Kind {
	case program.OpMeet:
		return uint64(k.count(op.Args[0])) <= op.Args[1]
	case program.OpAwait:
		return k.count(op.Args[0]) == 0
	default:
		return true
	}
}

func (k *kernel) count(addr uint64) uint32 {
	if _, known := k.counts[addr]; !known {
		numbers := program.WordsAt(k.plan.Arena.Base, k.plan.Arena.Data(), addr, 1)
		if numbers == nil {
			return 1 << 31
		}
		k.counts[addr] = uint32(numbers[0])
	}
	return k.counts[addr]
}

// run runs a task until it forks, waits or is done.
func (k *kernel) run(i int) (child int, err error) {
	ops := k.plan.Tasks[i].Ops
	for k.pcs[i] < len(ops) {
		op := &ops[k.pcs[i]]
		if k.over[i] {
			return -1, errors.New("an op after the end")
		}
		if !k.canGoOn(i) {
			return -1, nil
		}
		if op.Kind == program.OpMeet {
			k.counts[op.Args[0]] = k.count(op.Args[0]) - 1
		}
		got, errno, child := k.op(i, op)
		if errno != 0 && (op.Allow == 0 || unix.Errno(op.Allow) != errno) {
			return -1, errno
		}
		if errno == 0 && op.Flags&program.FlagWant != 0 && child < 0 && got != op.Want {
			return -1, fmt.Errorf("the result is %#x, not %#x", got, op.Want)
		}
		k.pcs[i]++
		if child >= 0 {
			return child, nil
		}
	}
	k.over[i] = true
	return -1, nil
}

// lowest assigns the lowest free number from a given one on.
func (k *kernel) lowest(i, from int, h held) (int64, unix.Errno) {
	n := from
	for ; ; n++ {
		if _, taken := k.tables[i][n]; !taken {
			break
		}
	}
	if uint64(n) >= k.limits[i] {
		return 0, unix.EMFILE
	}
	k.tables[i][n] = h
	return int64(n), 0
}

// open names what a task opens by the task, the path, and how often it has opened that path.
func (k *kernel) open(i int, what string) held {
	key := fmt.Sprintf("%d %s", i, what)
	k.opened[key]++
	return held{fmt.Sprintf("%s of task %d, number %d", what, i, k.opened[key]), true}
}

func (k *kernel) op(i int, op *program.Op) (got int64, errno unix.Errno, child int) {
	t, a := k.tables[i], op.Args
	missing := func(n uint64) bool { _, ok := t[int(int32(n))]; return !ok }
	switch op.Kind {
	case program.OpFork:
		child := int(a[1])
		flags := program.WordsAt(k.plan.Arena.Base, k.plan.Arena.Data(), a[0], 1)
		if child < 0 || child >= len(k.tables) || k.tables[child] != nil || flags == nil {
			return 0, unix.EINVAL, -1
		}
		k.tables[child], k.limits[child] = t, k.limits[i]
		if flags[0]&unix.CLONE_FILES == 0 {
			k.tables[child] = maps.Clone(t)
		}
		return 0, 0, child
	case program.OpPull:
		return 0, k.pull(i, op), -1
	case program.OpRefuse:
		if missing(a[0]) {
			return 0, unix.EBADF, -1
		}
	case program.OpReopenAt:
		if missing(a[2]) {
			return 0, unix.EBADF, -1
		}
		got, errno = k.lowest(i, 0, k.open(i, fmt.Sprintf("reopened %#x %#x as %s", a[0], a[1], t[int(a[2])].what)))
	case program.OpPair:
		h := k.open(i, fmt.Sprintf("pair of call %d", op.Nr))
		low, first := k.lowest(i, 0, held{h.what + ".r", true})
		high, second := k.lowest(i, 0, held{h.what + ".w", true})
		return low | high<<32, max(first, second), -1
	case program.OpGate:
		if k.ready[i] == 0 {
			return 0, unix.EDEADLK, -1
		}
		k.past[i] = true
	case program.OpHold:
		k.over[i] = true
		if !k.past[i] {
			return 0, unix.EPROTO, -1
		}
	case program.OpCall:
		got, errno = k.call(i, op)
	default:
	}
	return got, errno, -1
}

func (k *kernel) pull(i int, op *program.Op) unix.Errno {
	t, a := k.tables[i], op.Args
	store, ok := t[int(int32(a[0]))]
	switch {
	case !ok:
		return unix.EBADF
	case store.what != "store":
		return unix.ENOTSOCK
	}
	id, there := k.plan.Words[wire.Word(a[1])]
	if !there || len(k.plan.Messages[id]) != int(a[2]) {
		return unix.EPROTO
	}
	numbers := program.Int32sAt(k.plan.Arena.Base, k.plan.Arena.Data(), a[3], int(a[2]))
	for j, fe := range k.plan.Messages[id] {
		n, errno := k.lowest(i, 0, held{fmt.Sprintf("file %d.%d of the store", fe.File, fe.End), a[4]&unix.MSG_CMSG_CLOEXEC != 0})
		if errno != 0 || numbers == nil || int64(numbers[j]) != n {
			return unix.EPROTO
		}
	}
	return 0
}

func (k *kernel) call(i int, op *program.Op) (int64, unix.Errno) {
	t, a := k.tables[i], op.Args
	at := func(n uint64) (held, bool) { h, ok := t[int(int32(n))]; return h, ok }
	switch op.Nr {
	case unix.SYS_DUP3:
		source, ok := at(a[0])
		if op.Mode(0) == program.ModeLoad {
			source, ok = held{what: "store"}, true
			for _, l := range k.plan.Lent {
				if l.Cell == a[0] {
					source.what = fmt.Sprintf("file %d.%d lent", l.File, l.End)
				}
			}
			if source.what == "store" && a[0] != k.plan.Arena.Base+program.HeadStoreFD {
				ok = false
			}
		}
		switch {
		case !ok || a[1] >= k.limits[i]:
			return 0, unix.EBADF
		case op.Mode(0) == program.ModeValue && a[0] == a[1]:
			return 0, unix.EINVAL
		}
		t[int(a[1])] = held{source.what, a[2]&unix.O_CLOEXEC != 0}
		return int64(a[1]), 0
	case unix.SYS_CLOSE:
		if _, ok := at(a[0]); !ok {
			return 0, unix.EBADF
		}
		delete(t, int(a[0]))
	case unix.SYS_CLOSE_RANGE:
		if a[0] > a[1] {
			return 0, unix.EINVAL
		}
		maps.DeleteFunc(t, func(n int, _ held) bool { return uint64(n) >= a[0] && uint64(n) <= a[1] })
	case unix.SYS_FCNTL:
		h, ok := at(a[0])
		switch {
		case !ok:
			return 0, unix.EBADF
		case a[1] == unix.F_DUPFD_CLOEXEC:
			return k.lowest(i, int(a[2]), held{h.what, true})
		case a[1] == unix.F_SETFD:
			t[int(a[0])] = held{h.what, a[2]&unix.FD_CLOEXEC != 0}
		}
	case unix.SYS_EVENTFD2:
		h := k.open(i, fmt.Sprintf("eventfd with %d, %#x", a[0], a[1]&^unix.EFD_CLOEXEC))
		h.cloexec = a[1]&unix.EFD_CLOEXEC != 0
		return k.lowest(i, 0, h)
	case unix.SYS_SIGNALFD4:
		mask := program.WordsAt(k.plan.Arena.Base, k.plan.Arena.Data(), a[1], 1)
		if int64(a[0]) != -1 || mask == nil || a[2] != 8 {
			return 0, unix.EINVAL
		}
		h := k.open(i, fmt.Sprintf("signalfd of %#x, %#x", mask[0], a[3]&^unix.SFD_CLOEXEC))
		h.cloexec = a[3]&unix.SFD_CLOEXEC != 0
		return k.lowest(i, 0, h)
	case unix.SYS_MEMFD_CREATE:
		name, _ := program.StringAt(k.plan.Arena.Base, k.plan.Arena.Data(), a[0])
		h := k.open(i, fmt.Sprintf("memory %q, %#x", name, a[1]&^unix.MFD_CLOEXEC))
		h.cloexec = a[1]&unix.MFD_CLOEXEC != 0
		return k.lowest(i, 0, h)
	case unix.SYS_FCHMOD, unix.SYS_FCHOWN, unix.SYS_FTRUNCATE, unix.SYS_UTIMENSAT:
		if _, ok := at(a[0]); !ok {
			return 0, unix.EBADF
		}
	case unix.SYS_LSEEK, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PWRITE64:
		if _, ok := at(a[0]); !ok {
			return 0, unix.EBADF
		}
		return op.Want, 0
	case unix.SYS_OPENAT, unix.SYS_OPENAT2:
		path, _ := program.StringAt(k.plan.Arena.Base, k.plan.Arena.Data(), a[1])
		if number, again := strings.CutPrefix(path, program.FDFolder); again {
			var n uint64
			_, _ = fmt.Sscan(number, &n)
			h, ok := at(n)
			if !ok {
				return 0, unix.ENOENT
			}
			path = "again " + h.what
		}
		flags := a[2]
		if op.Nr == unix.SYS_OPENAT2 {
			flags = k.plan.HowFlags(a[2])
		}
		h := k.open(i, path) // its flags are not the table's
		h.cloexec = flags&unix.O_CLOEXEC != 0
		if flags&unix.O_PATH != 0 {
			h.what += ", looked at"
		}
		return k.lowest(i, 0, h)
	case unix.SYS_UNSHARE:
		if a[0]&unix.CLONE_FILES != 0 {
			k.tables[i] = maps.Clone(t)
		}
	case unix.SYS_PRLIMIT64:
		soft := program.WordsAt(k.plan.Arena.Base, k.plan.Arena.Data(), a[2], 1)
		if soft == nil {
			return 0, unix.EFAULT
		}
		k.limits[i] = soft[0]
	case unix.SYS_FUTEX:
		if a[4] == k.plan.Arena.Base+program.HeadLeft {
			k.ready[i]++
		} else if a[4] >= k.plan.Arena.Base+program.HeadSize {
			k.counts[a[4]] = k.count(a[4]) - 1
		}
	case unix.SYS_EXECVE:
		k.over[i] = true
		if !k.past[i] {
			return 0, unix.EPROTO
		}
	case unix.SYS_EXIT_GROUP:
		k.over[i], k.past[i] = true, true
		k.tables[i] = map[int]held{}
	}
	return 0, 0
}

// mutate drops, swaps or changes one op of a task, and describes the change; "" if there was
// nothing to change.
func mutate(t *rapid.T, p *plan.Plan) (mutated *plan.Plan, said string) {
	q := *p
	q.Tasks = slices.Clone(p.Tasks)
	task := rapid.IntRange(0, len(q.Tasks)-1).Draw(t, "task")
	prog := &q.Tasks[task]
	prog.Ops, prog.Notes = slices.Clone(prog.Ops), slices.Clone(prog.Notes)
	i := rapid.IntRange(0, len(prog.Ops)-1).Draw(t, "op")
	op := &prog.Ops[i]
	name := words.OpName(op)
	switch rapid.IntRange(0, 2).Draw(t, "mutation") {
	case 0:
		said = fmt.Sprintf("task %d: op %d (%s) is dropped", task, i, name)
		prog.Ops, prog.Notes = slices.Delete(prog.Ops, i, i+1), slices.Delete(prog.Notes, i, i+1)
	case 1:
		if i+1 == len(prog.Ops) {
			return nil, ""
		}
		said = fmt.Sprintf("task %d: op %d (%s) is swapped with %s", task, i, name, words.OpName(&prog.Ops[i+1]))
		prog.Ops[i], prog.Ops[i+1] = prog.Ops[i+1], prog.Ops[i]
		prog.Notes[i], prog.Notes[i+1] = prog.Notes[i+1], prog.Notes[i]
	default:
		if op.Kind != program.OpCall && op.Kind != program.OpPull && op.Kind != program.OpRefuse && op.Kind != program.OpReopenAt {
			return nil, ""
		}
		if prog.Notes[i].Effect == program.EffectGivesFD && op.Nr != unix.SYS_OPENAT && op.Nr != unix.SYS_OPENAT2 {
			return nil, "" // what a recipe asks for is no matter of tables
		}
		arg := rapid.IntRange(0, 2).Draw(t, "argument")
		if op.Mode(arg) != program.ModeValue || op.Args[arg] > 1<<20 && op.Nr != unix.SYS_CLOSE_RANGE || op.Kind == program.OpPull && arg > 0 || op.Nr == unix.SYS_FCNTL && arg == 1 {
			return nil, "" // an address, or what a message is
		}
		was := op.Args[arg]
		op.Args[arg] = uint64(rapid.IntRange(0, 12).Draw(t, "value"))
		if op.Nr == unix.SYS_DUP3 && arg == 2 {
			op.Args[arg] = was ^ unix.O_CLOEXEC
		}
		said = fmt.Sprintf("task %d: op %d (%s): argument %d is %d and was %d", task, i, name, arg, op.Args[arg], was)
	}
	return &q, said
}

// TestMutations breaks plans of random trees, and checks that the model notices every change
// that affects the final tables of tasks.
func TestMutations(t *testing.T) {
	changed, tried := 0, 0
	property := func(t *rapid.T) {
		tree := plantest.DrawTree(t, 8)
		plantest.DrawShares(t, tree)
		plantest.DrawWaits(t, tree)
		given := map[string]int{}
		if tree.Takes("given") {
			given["given"] = 3
		}
		p, err := planner.New(tree, plantest.DrawHost(t), plan.Options{
			Strategy: rapid.SampledFrom([]plan.Strategy{plan.StrategyFDStore, plan.StrategyInherit}).Draw(t, "strategy"),
			Inherit:  given, Layout: fdstore.Flat, Help: rapid.IntRange(0, 2).Draw(t, "helpers"),
		})
		if err != nil {
			return // refused: see the tests of the planner
		}
		right := outcome(p)
		if strings.HasPrefix(right, "fails") {
			t.Fatalf("a good plan %s; the model says %v", right, model.Verify(p))
		}
		for range 10 {
			q, said := mutate(t, p)
			if q == nil {
				continue
			}
			tried++
			err := model.Verify(q)
			got := outcome(q)
			if got == right {
				continue
			}
			changed++
			if err == nil {
				t.Errorf("%s: the model does not notice, but the tables are\n%snot\n%s", said, got, right)
			}
		}
	}
	for range rounds.Of(t, "", 1, 10) {
		rounds.Check(t, "REGROW_TEST_MUTATIONS", 100, property)
	}
	t.Logf("%d mutations of %d change what a task has", changed, tried)
	if changed == 0 || changed < tried/10 {
		t.Errorf("only %d mutations of %d change anything", changed, tried)
	}
}

// TestUndeclared inserts calls whose effect is not declared.
func TestUndeclared(t *testing.T) {
	tree := plantest.Reference(t, t.TempDir())
	good, err := planner.New(tree, plantest.Host, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Verify(good); err != nil {
		t.Fatal(err)
	}
	const closed = 999
	for name, nr := range map[string]uint32{
		"epoll_ctl": unix.SYS_EPOLL_CTL, "flock": unix.SYS_FLOCK, "ioctl": unix.SYS_IOCTL,
		"pidfd_open": unix.SYS_PIDFD_OPEN, "setresuid": unix.SYS_SETRESUID,
	} {
		insert := func(note program.Note) error {
			p := *good
			p.Tasks = slices.Clone(good.Tasks)
			prog := &p.Tasks[1]
			op := program.Op{Kind: program.OpCall, Nr: nr, Args: [6]uint64{closed}, Out: program.NoSlot}
			at := len(prog.Ops) - 3
			prog.Ops, prog.Notes = slices.Insert(slices.Clone(prog.Ops), at, op), slices.Insert(slices.Clone(prog.Notes), at, note)
			p.Extras = append(slices.Clone(good.Extras), plan.Extra{Uses: []plan.Use{{Arg: 0, What: plan.FileEnd{File: 0}}}})
			return model.Verify(&p)
		}
		if err := insert(program.Note{Line: 1, File: program.NoFile}); err == nil || !strings.Contains(err.Error(), "is not declared") {
			t.Errorf("%s, undeclared: %v", name, err)
		}
		used := program.Note{Line: 1, File: program.NoFile, Effect: program.EffectNothing, Extra: int32(len(good.Extras))}
		if err := insert(used); err == nil || !strings.Contains(err.Error(), "number 999 is free") {
			t.Errorf("%s of a closed number: %v", name, err)
		}
	}
	p := *good
	p.Prepare.Notes = slices.Clone(good.Prepare.Notes)
	i := slices.IndexFunc(p.Prepare.Ops, func(op program.Op) bool { return op.Kind == program.OpCall && op.Nr == unix.SYS_BIND })
	p.Prepare.Notes[i].Effect = program.EffectUndeclared
	if err := model.Verify(&p); err == nil || !strings.Contains(err.Error(), "is not declared") {
		t.Errorf("a call of the runner: %v", err)
	}
}
