package service_test

import (
	"fmt"
	"os"

	"regrow/internal/service"
)

// A program that starts a service calls Init first of all in main.
func Example() {
	service.Init()
	s, err := service.Start(service.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	if err := s.Push(1, int(os.Stdout.Fd())); err != nil {
		fmt.Println(err)
		return
	}
	f, err := s.Pop(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintln(f, "through the service")
	// Output: through the service
}
