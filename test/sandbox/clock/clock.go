// Package clock speeds up what takes Google minutes by one factor that can change at any time.
package clock

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// Clock divides durations by its factor.
type Clock struct{ bits atomic.Uint64 }

// New makes a clock with the factor.
func New(factor float64) (*Clock, error) {
	c := &Clock{}
	return c, c.SetFactor(factor)
}

// Factor is by how much time is sped up.
func (c *Clock) Factor() float64 { return math.Float64frombits(c.bits.Load()) }

// SetFactor changes the factor, which lies between 1 and 1000.
func (c *Clock) SetFactor(factor float64) error {
	if !(factor >= 1 && factor <= 1000) {
		return fmt.Errorf("the factor %v is not between 1 and 1000", factor)
	}
	c.bits.Store(math.Float64bits(factor))
	return nil
}

// Scale is what a duration of Google's becomes here, but never less than atLeast.
func (c *Clock) Scale(d, atLeast time.Duration) time.Duration {
	return max(time.Duration(float64(d)/c.Factor()), atLeast)
}
