package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// inheritFlag collects --inherit-fd KEY=N.
type inheritFlag struct {
	fds map[string]int
}

func (f *inheritFlag) add(cmd *cobra.Command) {
	cmd.Flags().Var(f, "inherit-fd", "the caller's descriptor N is the open file that the tree calls KEY; may be repeated")
}

// String implements pflag.Value.
func (f *inheritFlag) String() string { return "" }

// Type implements pflag.Value.
func (f *inheritFlag) Type() string { return "KEY=N" }

// Set implements pflag.Value.
func (f *inheritFlag) Set(s string) error {
	key, number, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("want KEY=N, such as listener=5")
	}
	switch key {
	case "stdin", "stdout", "stderr":
		return fmt.Errorf("the key %s is given already: it is the caller's own", key)
	}
	fd, err := strconv.ParseUint(number, 10, 32)
	if err != nil || fd > math.MaxInt32 {
		return fmt.Errorf("%q is no descriptor number", number)
	}
	if _, twice := f.fds[key]; twice {
		return fmt.Errorf("the key %s is given twice", key)
	}
	if f.fds == nil {
		f.fds = map[string]int{}
	}
	f.fds[key] = int(fd)
	return nil
}
