package runner

import (
	"github.com/sirupsen/logrus"

	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// debugging reports whether anybody wants to read what logOps has to say.
func debugging(log logrus.FieldLogger) bool {
	switch l := log.(type) {
	case *logrus.Logger:
		return l.IsLevelEnabled(logrus.DebugLevel)
	case *logrus.Entry:
		return l.Logger.IsLevelEnabled(logrus.DebugLevel)
	}
	return true
}

// logOps logs what the tasks of a released tree have done, from the plan: tasks
// cannot log.
func (r *run) logOps() {
	if !debugging(r.log) {
		return
	}
	for i := range r.plan.Tasks {
		for j := range r.plan.Tasks[i].Ops {
			r.logOp(i, j, "")
		}
	}
}

// logFailed logs what the tasks of a restore that has failed had done by then, and
// the pull or install at which one failed. Nothing of the tree is left.
func (r *run) logFailed() {
	if r.root.PID == 0 || !debugging(r.log) {
		return
	}
	for i := range r.plan.Tasks {
		rec := r.arena.Record(i)
		ops := r.arena.Ops(rec.Ops, len(r.plan.Tasks[i].Ops))
		for j := range ops {
			switch {
			case rec.Errno != 0 && int(rec.Op) == j:
				if e := r.taskError(i); e != nil {
					r.logOp(i, j, e.Error())
				}
			case j+1 < len(ops) && ops[j+1].At != 0: // the next one has begun
				r.logOp(i, j, "")
			}
		}
	}
}

// logOp logs a pull or an install of a task; others are no matter of descriptors. A
// pull has an entry for each open file that it brings, with the number where that
// lands. failure is why it did not, "" if it did.
func (r *run) logOp(task, i int, failure string) {
	p := r.plan
	op, note := &p.Tasks[task].Ops[i], p.Tasks[task].Notes[i]
	log := func(fd int32, file, call string, message int) {
		fields := logrus.Fields{"task": p.Tree.Tasks()[task].Name, "pid": r.taskPID(task), "fd": fd, "file": file}
		if message >= 0 {
			fields["message"] = message
		}
		if failure != "" {
			fields["error"] = failure
		}
		r.log.WithFields(fields).Debug(call)
	}
	switch note.Verb {
	case program.VerbPull:
		if op.Kind != program.OpPull && op.Kind != program.OpTake {
			return // a question to the service, whose answer comes next
		}
		numbers := program.Int32sAt(p.Arena.Base, p.Arena.Data(), op.Args[3], int(op.Args[2]))
		if op.Kind == program.OpTake {
			log(numbers[0], p.Tree.Files[note.File].EndName(int(note.End)), "pop", -1)
			return
		}
		id := p.MessageOf(op)
		if id < 0 {
			return // a socket of the store on the way
		}
		for k, fe := range p.Messages[id] {
			log(numbers[k], p.EndName(fe), "pull", id)
		}
	case program.VerbInstall:
		log(note.FD, p.Tree.Files[note.File].EndName(int(note.End)), words.CallName(p, op, note), -1)
	default:
	}
}
