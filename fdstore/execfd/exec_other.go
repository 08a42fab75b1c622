//go:build !linux

package execfd

import (
	"errors"
	"fmt"
)

func exec(Program) error { return fmt.Errorf("execfd: %w", errors.ErrUnsupported) }
