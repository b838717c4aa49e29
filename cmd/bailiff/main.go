// Command bailiff is the agent (run) and the tools of the people who work with
// it: events, status, mode, reload, explain, check, doctor. One file for each
// command. What it says on standard output is for pipes, everything else goes
// to standard error; colours and other decoration only to a terminal.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() { os.Exit(realMain()) }

// isCanary reports whether the agent has executed itself to see if it is told.
func isCanary(args []string) bool { return len(args) == 3 && args[1] == canaryWord }

func realMain() int {
	if isCanary(os.Args) {
		return exitOK
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it the hard way
	a := &app{out: os.Stdout, err: os.Stderr, getenv: os.Getenv, terminal: isTerminal(os.Stdout)}
	return a.main(ctx, os.Args[1:])
}

// isTerminal reports whether a person sees what is written to f.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
