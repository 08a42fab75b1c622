package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"regrow/test/script"
)

// TestScripts runs the scripts in testdata/scripts, which run the built regrow as a user
// would. They have these commands beside those of testscript:
//
//	status N COMMAND...   run the command, fail unless it has this exit status
//	endtree               kill all processes that this test left running
//
// A process that runs on must not have testscript's pipes open, so detached trees are
// restored with output to a file.
func TestScripts(t *testing.T) {
	testscript.RunT(serial{t}, testscript.Params{
		Dir: filepath.Join("testdata", "scripts"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(regrow)+string(os.PathListSeparator)+os.Getenv("PATH"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":  script.Status,
			"endtree": func(_ *testscript.TestScript, _ bool, _ []string) { endTree(t) },
		},
		RequireUniqueNames: true,
		UpdateScripts:      os.Getenv("UPDATE") != "",
	})
}

// serial runs scripts one after the other: endtree ends all descendants of this process.
type serial struct{ *testing.T }

func (serial) Parallel() {}

func (s serial) Run(name string, f func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { f(serial{t}) })
}

func (serial) Verbose() bool { return testing.Verbose() }
