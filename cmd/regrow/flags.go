package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"regrow/tasktree"
)

// pathFlag is the path of a file to be written, "" for none.
type pathFlag string

// String implements pflag.Value.
func (f *pathFlag) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *pathFlag) Type() string { return "F" }

// Set implements pflag.Value. Elsewhere - is a standard stream, but what is to be
// written here must not be mixed with what the tree writes.
func (f *pathFlag) Set(s string) error {
	if s == "-" {
		return errors.New("want a file; standard output is the tree's (write ./- for a file of this name)")
	}
	*f = pathFlag(s)
	return nil
}

// timeFlag is a span of time, 0 for none.
type timeFlag time.Duration

// String implements pflag.Value.
func (f *timeFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

// Type implements pflag.Value.
func (f *timeFlag) Type() string { return "D" }

// Set implements pflag.Value.
func (f *timeFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return errors.New("expected a time with a unit, such as 500ms or 10s")
	case d < 0:
		return errors.New("the time must not be negative")
	}
	*f = timeFlag(d)
	return nil
}

// levelFlag is how much to tell.
type levelFlag logrus.Level

// String implements pflag.Value.
func (f *levelFlag) String() string { return logrus.Level(*f).String() }

// Type implements pflag.Value.
func (f *levelFlag) Type() string { return "L" }

// Set implements pflag.Value.
func (f *levelFlag) Set(s string) error {
	level, err := logrus.ParseLevel(s)
	if err != nil {
		return fmt.Errorf("expected one of %s", strings.Join(levels(), ", "))
	}
	*f = levelFlag(level)
	return nil
}

func levels() []string {
	var names []string
	for _, l := range logrus.AllLevels {
		names = append(names, l.String())
	}
	return names
}

// flagError says in the house's words what is wrong with a flag, and which one was
// probably meant.
func flagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		hint := tasktree.DidYouMean("--"+unknown.GetSpecifiedName(), names)
		return fmt.Errorf("%w%s; see %s --help", err, hint, cmd.CommandPath())
	}
	bad, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	flag, value := bad.GetFlag(), bad.GetValue()
	if value == "" {
		value = `""`
	}
	if flag.Value.Type() == "bool" {
		return fmt.Errorf("--%s=%s: expected true or false", flag.Name, value)
	}
	return fmt.Errorf("--%s %s: %w", flag.Name, value, bad.Unwrap())
}

// completeFlags lets the shell complete what follows flags: one of these values,
// or nothing where there are none, since a file is never meant.
func completeFlags(cmd *cobra.Command, values map[string][]string) {
	for name, list := range values {
		// It fails only for a flag that does not exist, or twice: a bug.
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err)
		}
	}
}

// yamlFiles lets the shell complete descriptions, as many as there may be.
func yamlFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// yamlFile lets the shell complete one description.
func yamlFile(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return yamlFiles(cmd, args, word)
}
