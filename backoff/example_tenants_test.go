package backoff_test

import (
	"fmt"

	"github.com/connhygiene/connhygiene/backoff"
)

// classes has a Pacer for each class of tenants, so that one class cannot take the places
// of another. Classes are few and known beforehand: a Pacer for each tenant would need a
// bound on how many there are. The sum of MaxPending is what the upstream can bear.
type classes map[string]*backoff.Pacer

func (c classes) enter(class string) (*backoff.Slot, error) {
	p, ok := c[class]
	if !ok {
		p = c["others"]
	}
	return p.Enter()
}

// One Pacer for each class of tenants.
func Example_tenants() {
	c := classes{
		"gold":   {MaxPending: 2},
		"others": {MaxPending: 1},
	}
	for _, class := range []string{"free", "trial", "gold", "gold"} {
		slot, err := c.enter(class)
		fmt.Println(class, err == nil)
		_ = slot // Done or Cancel when the login has ended
	}
	// Output:
	// free true
	// trial false
	// gold true
	// gold true
}
