package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"regrow/restore"
)

// strategyFlags are the flags that decide how open files get into the tasks.
type strategyFlags struct {
	strategy  strategyFlag
	naive     bool
	serviceFD numberFlag
}

func (f *strategyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(&f.strategy, "strategy", "how open files get to the tasks: "+strings.Join(strategyNames(), ", "))
	flags.BoolVar(&f.naive, "naive", false, "place helper descriptors without checking for collisions, as restorers did that ran into conflicts")
	flags.Var(&f.serviceFD, "service-fd", "place the store's descriptor at N unless a task needs N (with --naive always)")
	completeFlags(cmd, map[string][]string{"strategy": strategyNames(), "service-fd": nil})
}

// options adds the flags to the options of a plan.
func (f *strategyFlags) options(o restore.PlanOptions) (restore.PlanOptions, error) {
	o.Strategy, o.Naive = f.strategy.Strategy, f.naive
	if f.serviceFD.n != nil {
		o.ServiceFD = f.serviceFD.n
	}
	if f.serviceFD.n != nil && f.strategy.given && f.strategy.Strategy == restore.StrategyInherit {
		return o, fmt.Errorf("--service-fd %d: the strategy inherit has no store", *f.serviceFD.n)
	}
	return o, nil
}

// warnNaive warns about the descriptors that a naive plan will lose.
func warnNaive(w io.Writer, plan *restore.Plan, o restore.PlanOptions) error {
	if !o.Naive {
		return nil
	}
	prediction, err := plan.Predict()
	if err != nil {
		return &exitError{exitNo, err}
	}
	for _, c := range prediction.Collisions {
		_, _ = fmt.Fprintln(w, c.Warning())
	}
	return nil
}

func strategyNames() (names []string) {
	for _, s := range restore.Strategies() {
		names = append(names, s.String())
	}
	return names
}

// strategyFlag is the name of a strategy.
type strategyFlag struct {
	restore.Strategy

	given bool
}

// Set implements pflag.Value.
func (f *strategyFlag) Set(s string) (err error) {
	f.Strategy, err = restore.ParseStrategy(s)
	f.given = true
	return err
}

// Type implements pflag.Value.
func (f *strategyFlag) Type() string { return "S" }

// numberFlag is a descriptor number, nil if the flag is not given.
type numberFlag struct{ n *int }

// String implements pflag.Value.
func (f *numberFlag) String() string { return "" }

// Type implements pflag.Value.
func (f *numberFlag) Type() string { return "N" }

// Set implements pflag.Value.
func (f *numberFlag) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n > math.MaxInt32 {
		return errors.New("expected a descriptor number")
	}
	fd := int(n)
	f.n = &fd
	return nil
}
