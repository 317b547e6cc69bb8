//go:build unix

// Command keyway-jupyter runs in a workspace, beside a Jupyter server: it keeps the output of
// kernels while no client is connected, and shows it to the next one. keyway open sends it there
// and starts it as a session.
//
//	keyway-jupyter serve [--lab|--notebook] [--dir DIR] [-- ARG…]
//	                                                      start or find the Jupyter server, and serve it
//	keyway-jupyter where [--wait SECONDS]                 print, as JSON, the socket and the token
//	keyway-jupyter kernels                                print, as JSON, the kernels and their notebooks
//	keyway-jupyter news [N]                              print, as JSON, the cells whose end no page saw, after the Nth
//	keyway-jupyter version
//
// There are two processes. The parent, serve, holds the socket and, if it has started one, the
// Jupyter server; it does little else. Its child, keep, does the work. If the child is killed,
// another takes over. Clients wait for it at the socket, and meanwhile the Jupyter server keeps
// the output of kernels.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"keyway/internal/keyway"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// usage is printed for -h and for an unknown command.
const usage = `usage: keyway-jupyter serve [--lab|--notebook] [--dir DIR] [-- ARG…]
       keyway-jupyter where [--wait SECONDS]
       keyway-jupyter kernels
       keyway-jupyter news [N]
       keyway-jupyter version
`

func run(args []string, out, news io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(news, usage)
		return 2
	}
	var err error
	switch word, rest := args[0], args[1:]; word {
	case "serve":
		err = serveCommand(rest, news)
	case "keep":
		err = keep(os.Stdin, news)
	case "where":
		err = whereCommand(rest, out, news)
	case "kernels":
		err = ask(out, "keyway/kernels", 10*time.Second)
	case "news":
		err = newsCommand(rest, out, news)
	case "version":
		_, err = fmt.Fprintln(out, keyway.Version)
	default:
		fmt.Fprintf(news, "keyway-jupyter: %.40q is not a command\n%s", word, usage)
		return 2
	}
	var wrong *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(news, "keyway-jupyter: %v\n%s", err, usage)
		return 2
	case err != nil:
		fmt.Fprintf(news, "keyway-jupyter: %v\n", err)
		return 1
	}
	return 0
}

// usageError is an error in the command line.
type usageError struct{ error }

func parse(f *flag.FlagSet, args []string, more bool, news io.Writer) error {
	f.SetOutput(io.Discard)
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(news, usage)
		return err
	case err != nil:
		return &usageError{err}
	case f.NArg() > 0 && !more:
		return &usageError{fmt.Errorf("unexpected argument %.40q", f.Arg(0))}
	}
	return nil
}

func serveCommand(args []string, news io.Writer) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	lab, notebook := f.Bool("lab", false, ""), f.Bool("notebook", false, "")
	dir := f.String("dir", "", "")
	away, long := f.Duration("away", 10*time.Second, ""), f.Duration("long", 10*time.Second, "") // for tests
	if err := parse(f, args, true, news); err != nil {
		return err
	}
	if *lab && *notebook {
		return &usageError{errors.New("--lab and --notebook exclude each other")}
	}
	want := ""
	switch {
	case *lab:
		want = "lab"
	case *notebook:
		want = "notebook"
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return serve(wish{kind: want, dir: *dir, args: f.Args()}, *away, *long, news, stop)
}

func whereCommand(args []string, out, news io.Writer) error {
	f := flag.NewFlagSet("where", flag.ContinueOnError)
	wait := f.Float64("wait", 0, "")
	if err := parse(f, args, false, news); err != nil {
		return err
	}
	return where(out, time.Duration(min(max(*wait, 0), 600)*float64(time.Second)))
}

func newsCommand(args []string, out, news io.Writer) error {
	f := flag.NewFlagSet("news", flag.ContinueOnError)
	if err := parse(f, args, true, news); err != nil {
		return err
	}
	after, err := int64(-1), error(nil)
	if f.NArg() > 0 {
		after, err = strconv.ParseInt(f.Arg(0), 10, 64)
	}
	if err != nil || f.NArg() > 1 {
		return &usageError{fmt.Errorf("news takes one number, not %.40q", f.Args())}
	}
	for range newsTries { // the program may be started again
		if err = ask(out, fmt.Sprint("keyway/news?after=", after), 0); err == nil {
			return nil
		}
		time.Sleep(500 * time.Millisecond)
	}
	return err
}

const newsTries = 20
