package prepare

import (
	"fmt"

	"regrow/fdstore"
	"regrow/internal/service"
	"regrow/restore/internal/plan"
)

// Init lets this program be started again as the process that
// [plan.StrategyService] keeps open files in. A program that plans with this strategy
// calls it first of all in main; where it is that process, it does not return.
func Init() { service.Init() }

// keeper is what keeps the open files of a restore: a store or a service.
type keeper interface {
	add(id int, fds []int) error
	seal() error
	fd() int        // that the root takes over
	number() uint64 // in every payload
	close() error
}

// newKeeper starts what the plan's strategy keeps files in, nil if nothing.
func newKeeper(p *plan.Plan) (keeper, error) {
	switch {
	case p.StoreFD < 0:
		return nil, nil //nolint:nilnil // no open file goes through one
	case p.Options.Strategy == plan.StrategyService:
		s, err := service.Start(service.Options{})
		if err != nil {
			return nil, err
		}
		return serviceKeeper{s}, nil
	}
	s, err := fdstore.New(fdstore.Options{Layout: p.Layout, WithoutCatalog: true})
	if err != nil {
		return nil, err
	}
	return storeKeeper{s}, nil
}

type storeKeeper struct{ *fdstore.Store }

func (s storeKeeper) add(id int, fds []int) error {
	got, err := s.AddFDs(fds)
	if err == nil && int(got) != id {
		return fmt.Errorf("bug: message %d got the store ID %d", id, got)
	}
	return err
}

func (s storeKeeper) seal() error { return s.Seal() }

func (s storeKeeper) fd() int { return s.FD() }

func (s storeKeeper) number() uint64 { return s.Number() }

func (s storeKeeper) close() error { return s.Close() }

type serviceKeeper struct{ *service.Service }

func (s serviceKeeper) add(id int, fds []int) error { return s.Push(service.ID(id), fds[0]) }

func (s serviceKeeper) seal() error { return s.Seal() }

func (s serviceKeeper) fd() int { return s.Door() }

func (s serviceKeeper) number() uint64 { return s.Number() }

func (s serviceKeeper) close() error { return s.Close() }
