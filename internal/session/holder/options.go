//go:build linux

package holder

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"keyway/internal/keyway"
	"keyway/internal/session/option"
	"keyway/internal/session/wire"
)

// Options is a holder's command line.
type Options struct {
	dir     string
	name    keyway.Name
	TTY     bool
	NoInput bool
	Login   bool // as a login shell
	Awaited bool // the process that starts it needs all of its output
	Window  wire.Window
	Erase   byte // the erase key of the user's terminal; 0: the usual one
	by      string
	OnExit  string // for sh -c
	resume  int    // descriptor of a handover; 0: this session begins
	Command []string
}

// args returns o as arguments that Hold reads.
func (o Options) args() []string {
	args := []string{
		"--dir", o.dir, "--name", string(o.name), "--by", o.by,
		"--on-exit", o.OnExit, "--rows", fmt.Sprint(o.Window.Rows), "--cols", fmt.Sprint(o.Window.Cols), "--erase", fmt.Sprint(o.Erase),
	}
	for _, flag := range []struct {
		word string
		set  bool
	}{{"--tty", o.TTY}, {"--no-input", o.NoInput}, {"--login", o.Login}, {"--awaited", o.Awaited}} {
		if flag.set {
			args = append(args, flag.word)
		}
	}
	if o.resume > 0 {
		args = append(args, "--resume", fmt.Sprint(o.resume))
	}
	return append(append(args, "--"), o.Command...)
}

func parseHoldOptions(args []string) (Options, error) {
	g, err := option.CommandLine{Strict: true, Options: []option.Option{
		{Name: "dir", Value: true}, {Name: "name", Value: true}, {Name: "by", Value: true}, {Name: "on-exit", Value: true}, {Name: "rows", Value: true},
		{Name: "cols", Value: true}, {Name: "tty"}, {Name: "no-input"}, {Name: "login"}, {Name: "awaited"}, {Name: "resume", Value: true}, {Name: "erase", Value: true},
	}}.Parse(args)
	if err != nil {
		return Options{}, err
	}
	o := Options{
		dir: g.Values["dir"], by: g.Values["by"], OnExit: g.Values["on-exit"], Command: g.Words,
		TTY: g.Has("tty"), NoInput: g.Has("no-input"), Login: g.Has("login"), Awaited: g.Has("awaited"),
	}
	rows, rowsErr := strconv.ParseUint(g.Values["rows"], 10, 16)
	cols, colsErr := strconv.ParseUint(g.Values["cols"], 10, 16)
	o.Window = wire.Window{Rows: uint16(rows), Cols: uint16(cols)}
	erase, _ := strconv.ParseUint(g.Values["erase"], 10, 8) // an older program passes none
	o.Erase = byte(erase)
	if fd, ok := g.Values["resume"]; ok {
		o.resume, err = strconv.Atoi(fd)
	}
	name, nameErr := keyway.ParseName(g.Values["name"])
	o.name = name
	if err := errors.Join(rowsErr, colsErr, nameErr, err); err != nil {
		return o, err
	}
	if !filepath.IsAbs(o.dir) || len(o.Command) == 0 || o.Command[0] == "" {
		return o, errors.New("a holder needs a directory and a command")
	}
	return o, nil
}
