package child

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestStopEndsTheWholeGroup(t *testing.T) {
	cmd := exec.Command("sh", "-c", "trap '' TERM; sleep 300 & wait; sleep 300")
	p, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p.Stop(100 * time.Millisecond)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	// A killed group member may stay a zombie of init for a moment, so wait for the group to go.
	for end := time.Now().Add(5 * time.Second); syscall.Kill(-p.Pid(), 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a process of the group is still there")
		}
	}
}
