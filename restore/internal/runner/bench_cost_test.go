package runner

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"regrow/restore/internal/host"
	"regrow/restore/internal/plan"
	"regrow/restore/internal/planner"
	"regrow/restore/internal/plantest"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/prepare"
	"regrow/restore/internal/safepath"
	"regrow/tasktree"
)

// cpuTime gives the processor time of this process and of those that it has waited for.
func cpuTime(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var used unix.Rusage
		if err := unix.Getrusage(who, &used); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return sum
}

// BenchmarkBench has the runner make an epoll with so many targets, by a bench and, as a
// floor, by the same calls in this process, whose table is large enough already.
func BenchmarkBench(b *testing.B) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	for _, n := range []int{0, 1, 1000, 10000} {
		var p places
		watch := &plantest.Watch{}
		tree := &tasktree.Tree{Source: "tree.yaml", Files: []*tasktree.OpenFile{
			{Name: "epoll", Pos: p.at(), Spec: watch}, {Name: "event", Pos: p.at(), Spec: &plantest.Script{OnMake: eventfd}},
		}, Root: &tasktree.Task{Name: "root", Pos: p.at()}}
		for i := range n {
			watch.Targets = append(watch.Targets, plantest.Target{File: p.text("event"), FD: p.number(i), Data: uint64(i)})
		}
		for i, f := range tree.Files {
			tree.Root.FDs = append(tree.Root.FDs, tasktree.Descriptor{FD: i, File: p.text(f.Name), Pos: p.at()})
		}
		if problems := tree.Check(); len(problems) > 0 {
			b.Fatal(problems)
		}
		here, err := host.ThisHost()
		if err != nil {
			b.Fatal(err)
		}
		planned := plantest.Must(b)(planner.New(tree, here, plan.Options{}))
		b.Run(fmt.Sprintf("%d targets", n), func(b *testing.B) {
			began := cpuTime(b)
			for b.Loop() {
				b.StopTimer()
				l := &loaded{plan: planned}
				if err := l.load(planner.Rebased); err != nil {
					b.Fatal(err)
				}
				files, err := prepare.New(l.plan, l.arena, safepath.New(false), prepare.NewUndo(quiet), nil)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := files.Prepare(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				files.CloseFDs()
				_ = files.CloseStore()
				_ = l.unload()
				b.StartTimer()
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
		b.Run(fmt.Sprintf("%d targets, the calls alone", n), func(b *testing.B) {
			began := cpuTime(b)
			for b.Loop() {
				epoll, _ := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
				event, _ := unix.Eventfd(0, unix.EFD_CLOEXEC)
				for i := range n {
					_, _ = postfork.Call(unix.SYS_DUP3, [6]uint64{uint64(event), uint64(100 + i), 0})
					_ = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, 100+i, &unix.EpollEvent{Events: unix.EPOLLIN})
					_, _ = postfork.Call(unix.SYS_CLOSE, [6]uint64{uint64(100 + i)})
				}
				b.StopTimer()
				_ = unix.Close(epoll)
				_ = unix.Close(event)
				b.StartTimer()
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}
