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

// pathFlag is the path of an output file, "" for none.
type pathFlag string

// String implements pflag.Value.
func (f *pathFlag) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *pathFlag) Type() string { return "F" }

// Set implements pflag.Value. It refuses -, which usually means standard output: this
// output must not be mixed with the tree's.
func (f *pathFlag) Set(s string) error {
	if s == "-" {
		return errors.New("expected the path of a file: standard output belongs to the tree (write ./- for a file named -)")
	}
	*f = pathFlag(s)
	return nil
}

// timeFlag is a duration, 0 for none.
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

// levelFlag is a log level.
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

// flagError replaces pflag's message about a wrong flag, and suggests the flag that
// was probably meant.
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

// completeFlags registers the values of flags for completion in the shell. A nil list
// means that nothing can be completed, not even a file name.
func completeFlags(cmd *cobra.Command, values map[string][]string) {
	for name, list := range values {
		// It fails only if the flag does not exist or is registered twice: a bug.
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err)
		}
	}
}

// yamlFiles lets the shell complete any number of descriptions.
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
