package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"regrow/test/script"
)

// TestMain makes fdhold a command of the scripts: a copy of this binary that calls main.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fdhold": main})
}

// TestScripts runs the scripts in testdata/scripts, as a user would. They have one
// command more than testscript:
//
//	status N COMMAND...   run the command, fail unless it has this exit status
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "scripts"),
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": script.Status,
		},
		RequireUniqueNames: true,
		UpdateScripts:      os.Getenv("UPDATE") != "",
	})
}
