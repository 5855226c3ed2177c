package nodes

import (
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts every process from one operating-system thread that never ends: the kernel sends
// Pdeathsig when the *thread* that started the child ends (prctl(2) PR_SET_PDEATHSIG), and Go ends
// threads at will.
type spawner struct{ requests chan func() }

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.requests {
			f()
		}
	}()
	return s
}

// start runs a command as the head of its own process group that dies with this process.
func (s *spawner) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	done := make(chan error)
	s.requests <- func() { done <- cmd.Start() }
	return <-done
}

// killGroup ends what is left of a process group.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// exitCode gives the exit code a container runtime reports: 128 + signal for a signalled process.
func exitCode(err error) int32 {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return 128
		}
		return 0
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return int32(128 + int(ws.Signal()))
	}
	return int32(exit.ExitCode())
}
