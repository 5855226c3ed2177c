// Package child runs processes that never outlive the sandbox.
//
// The kernel kills them when the sandbox ends in any way, SIGKILL included (PR_SET_PDEATHSIG, see
// prctl(2)). That signal is bound to the thread that forked, so all forks happen on one thread that
// lives as long as the sandbox.
package child

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

var forks = sync.OnceValue(func() chan<- func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for fork := range c {
			fork()
		}
	}()
	return c
})

// Process is a started child in a process group of its own.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts the command in its own process group.
func Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGKILL, true
	started := make(chan error, 1)
	forks() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	return p, nil
}

// Pid is the process id, which is also the id of its group.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended; Err then says how.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is what exec.Cmd.Wait gave; valid once Done is closed.
func (p *Process) Err() error { return p.err }

// Signal goes to the whole group.
func (p *Process) Signal(s syscall.Signal) error {
	if err := syscall.Kill(-p.Pid(), s); err != nil {
		return fmt.Errorf("sending %v to %s: %w", s, p.cmd.Path, err)
	}
	return nil
}

// Stop asks the group to end, kills it after grace, and returns once the process is gone.
func (p *Process) Stop(grace time.Duration) {
	select {
	case <-p.done:
	default:
		_ = p.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(grace):
		}
	}
	// The leader may be gone while others of its group are not.
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}
