package job

import (
	"encoding/json"
	"os"
	"time"
)

// Paths in the guest.
const (
	Path     = "/job.json"
	Tests    = "/tests"    // test binaries
	Programs = "/programs" // regrow and programs that tests otherwise build
	Source   = "/src"      // the module, for testdata and examples
)

// Results is the variable of the kernel's command line, and so of the guest's
// environment, with the name of the port for Messages.
const Results = "regrow_results"

// Without is a variable of the same kind with the names of runs that this guest omits,
// separated by commas: kernels share an initramfs, and not all run its whole job.
const Without = "regrow_without"

// Job is the work of a guest between boot and power-off.
type Job struct {
	// Shell starts a shell on the console instead of the runs.
	Shell bool `json:"shell,omitempty"`
	// Runs are done in order.
	Runs []Run `json:"runs,omitempty"`
	// SoftFiles and HardFiles are RLIMIT_NOFILE of the runs.
	SoftFiles uint64 `json:"soft_files"`
	HardFiles uint64 `json:"hard_files"`
}

// Run is one start of a test binary.
type Run struct {
	// Name is unique in a job: the package's path from the module's root, and a
	// suffix if a package has several runs.
	Name string `json:"name"`
	// Binary is a path in the guest, Dir the folder that it starts in.
	Binary string `json:"binary"`
	Dir    string `json:"dir"`
	// Run and Skip choose tests as the flags -test.run and -test.skip do; empty
	// means all, and none.
	Run  string `json:"run,omitempty"`
	Skip string `json:"skip,omitempty"`
	// Args are further flags of the binary.
	Args []string `json:"args,omitempty"`
	// Env is added to the guest's environment.
	Env []string `json:"env,omitempty"`
	// Timeout ends the binary, by its own watchdog first. It must be positive.
	Timeout time.Duration `json:"timeout"`
}

// Load reads the job of this guest.
func Load() (Job, error) {
	text, err := os.ReadFile(Path)
	if err != nil {
		return Job{}, err
	}
	var j Job
	err = json.Unmarshal(text, &j)
	return j, err
}
