// Package part names the states that a test can put a part of the sandbox into.
package part

import "fmt"

// State of a part.
type State string

const (
	// Running is a part at work.
	Running State = "running"
	// Paused is a part that is there and does nothing, as after SIGSTOP.
	Paused State = "paused"
	// Killed is a part that is not there, as after SIGKILL.
	Killed State = "killed"
)

// Part can be paused, killed and run again.
type Part interface{ SetState(State) error }

// Parse reads a state.
func Parse(text string) (State, error) {
	switch s := State(text); s {
	case Running, Paused, Killed:
		return s, nil
	}
	return "", fmt.Errorf("state %q is none of running, paused, killed", text)
}
