package lookup

import (
	"slices"
	"strings"

	"regrow/tasktree"
)

// defaultPath is the PATH of an environment without one, as in execvp(3) of glibc.
const defaultPath = "/bin:/usr/bin"

// Environment returns the address of a task's environment, and the PATH in it.
func (l *Programs) Environment(task *tasktree.Task) (envp uint64, path string) {
	base := l.callersEnvironment()
	if task.EnvClear {
		base = nil
	}
	if len(task.Env) == 0 {
		if task.EnvClear {
			return l.plan.Arena.Strings(nil), defaultPath
		}
		if l.envp == 0 {
			l.envp = l.plan.Arena.Strings(base)
		}
		return l.envp, searchPath(base)
	}
	later := make(map[string]string, len(task.Env))
	for _, v := range task.Env {
		later[v.Name] = v.Value
	}
	env := make([]string, 0, len(base)+len(task.Env))
	for _, kv := range base {
		name, _, _ := strings.Cut(kv, "=")
		if _, replaced := later[name]; !replaced {
			env = append(env, kv)
		}
	}
	for _, v := range task.Env {
		if value, ok := later[v.Name]; ok {
			env = append(env, v.Name+"="+value)
			delete(later, v.Name)
		}
	}
	return l.plan.Arena.Strings(env), searchPath(env)
}

// activation are the variables of sd_listen_fds(3). They tell regrow which of its
// descriptors are listening sockets. Tasks have other descriptors at those numbers.
var activation = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}

// callersEnvironment returns the caller's environment without those variables.
func (l *Programs) callersEnvironment() []string {
	if l.callersEnv == nil {
		l.callersEnv = slices.DeleteFunc(slices.Clone(l.plan.Host.Environ), func(kv string) bool {
			name, _, _ := strings.Cut(kv, "=")
			return slices.Contains(activation, name)
		})
	}
	return l.callersEnv
}

// searchPath returns the PATH of an environment.
func searchPath(env []string) string {
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			return path
		}
	}
	return defaultPath
}
