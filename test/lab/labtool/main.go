//go:build linux

// Labtool has the lab's programs for other namespaces than the lab's own: the
// first process of each of its hosts, the entrance to a host, the slow line
// between two hosts, and a stopwatch. It is also the one static program in the
// image that holds nothing else.
//
//	labtool init CONFIG              be the first process of a host
//	labtool exec PID -- CMD [ARG]…   run CMD in the host whose first process is PID
//	labtool delay CONFIG             be a slow line between two hosts
//	labtool time N -- CMD [ARG]…     run CMD N times, print each time in nanoseconds
//	labtool say WORD…                print the words, say is the program in an empty image
//	labtool copy                     standard input to standard output
//	labtool wait                     until a signal
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	err := errors.New("what to do?")
	if len(os.Args) > 1 {
		err = run(os.Args[1], os.Args[2:])
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exitStatus(exit))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "labtool:", err)
		os.Exit(125)
	}
}

func run(what string, args []string) error {
	switch what {
	case "init":
		return runInit(args)
	case "exec":
		return runExec(args)
	case "delay":
		return runDelay(args)
	case "time":
		return runTime(args)
	case "say":
		_, err := fmt.Println(strings.Join(args, " "))
		return err
	case "copy":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "wait":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM, syscall.SIGINT)
		<-c
		return nil
	}
	return fmt.Errorf("what is %q?", what)
}

// exitStatus returns the exit status that a shell would give.
func exitStatus(e *exec.ExitError) int {
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return e.ExitCode()
}

// afterDashes returns the words before and after "--" in args.
func afterDashes(args []string) (before, after []string, err error) {
	for i, a := range args {
		if a == "--" && i+1 < len(args) {
			return args[:i], args[i+1:], nil
		}
	}
	return nil, nil, errors.New("no command after --")
}

// untilEOF returns when standard input ends, because the process that started this one has ended.
func untilEOF() {
	_, _ = io.Copy(io.Discard, os.Stdin)
}
