package trace

import (
	"github.com/sirupsen/logrus"

	"regrow/restore/internal/plan"
	"regrow/restore/internal/postfork"
	"regrow/restore/internal/program"
	"regrow/restore/internal/words"
)

// Debugging reports whether the logger logs entries of level Debug.
func Debugging(log logrus.FieldLogger) bool {
	switch l := log.(type) {
	case *logrus.Logger:
		return l.IsLevelEnabled(logrus.DebugLevel)
	case *logrus.Entry:
		return l.Logger.IsLevelEnabled(logrus.DebugLevel)
	}
	return true
}

// LogOps logs what the tasks of a released tree have done, as the plan says.
func LogOps(log logrus.FieldLogger, p *plan.Plan, arena *postfork.Arena) {
	if !Debugging(log) {
		return
	}
	for i := range p.Tasks {
		for j := range p.Tasks[i].Ops {
			logOp(log, p, arena, i, j, "")
		}
	}
}

// LogFailed logs what the tasks of a failed restore have done, and the pull or install at
// which a task failed. why returns the error of that task. Nothing of the tree is left.
func LogFailed(log logrus.FieldLogger, p *plan.Plan, arena *postfork.Arena, why func(task int) error) {
	if !Debugging(log) {
		return
	}
	for i := range p.Tasks {
		rec := arena.Record(i)
		ops := arena.Ops(rec.Ops, len(p.Tasks[i].Ops))
		for j := range ops {
			switch {
			case rec.Errno != 0 && int(rec.Op) == j:
				if err := why(i); err != nil {
					logOp(log, p, arena, i, j, err.Error())
				}
			case j+1 < len(ops) && ops[j+1].At != 0: // the next one has begun
				logOp(log, p, arena, i, j, "")
			}
		}
	}
}

// logOp logs a pull or an install of a task, and ignores other ops. A pull has an entry for
// each open file, with the number at which it lands. failure is the error, "" for none.
func logOp(to logrus.FieldLogger, p *plan.Plan, arena *postfork.Arena, task, i int, failure string) {
	op, note := &p.Tasks[task].Ops[i], p.Tasks[task].Notes[i]
	log := func(fd int32, file, call string, message int) {
		fields := logrus.Fields{"task": p.Tree.Tasks()[task].Name, "pid": p.TaskPID(task, arena.Record(task).PID), "fd": fd, "file": file}
		if message >= 0 {
			fields["message"] = message
		}
		if failure != "" {
			fields["error"] = failure
		}
		to.WithFields(fields).Debug(call)
	}
	switch note.Verb {
	case program.VerbPull:
		if op.Kind != program.OpPull && op.Kind != program.OpTake {
			return // a request to the service; the answer is the next op
		}
		numbers := program.Int32sAt(p.Arena.Base, p.Arena.Data(), op.Args[3], int(op.Args[2]))
		if op.Kind == program.OpTake {
			log(numbers[0], p.Tree.Files[note.File].EndName(int(note.End)), "pop", -1)
			return
		}
		id := p.MessageOf(op)
		if id < 0 {
			return // a socket of a nested store
		}
		for k, fe := range p.Messages[id] {
			log(numbers[k], p.EndName(fe), "pull", id)
		}
	case program.VerbInstall:
		log(note.FD, p.Tree.Files[note.File].EndName(int(note.End)), words.CallName(p, op, note), -1)
	default:
	}
}
