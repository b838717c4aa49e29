package sinktest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Missing ends a test whose receiver is not installed: a skip, in CI a failure.
func Missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this is missing: %s", what)
	}
	t.Skipf("this is missing: %s", what)
}

// Program is a receiver that is a process of its own.
type Program struct {
	Args []string

	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  bytes.Buffer
}

// Write collects what it prints.
func (p *Program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output is what it has printed.
func (p *Program) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// Start runs it until the test ends or Stop.
func (p *Program) Start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.Args[0], p.Args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is of no interest: tests look at what it took
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
}

// Listens waits until it takes connections.
func (p *Program) Listens(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s has ended: %s", p.Args[0], p.Output())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen: %s", p.Args[0], p.Output())
		}
	}
}

// Stop asks it to end and waits.
func (p *Program) Stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(Patience):
		t.Fatalf("%s does not end: %s", p.Args[0], p.Output())
	}
}

// Kill ends it without asking.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}
