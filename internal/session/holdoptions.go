//go:build linux

package session

import (
	"errors"
	"fmt"
	"keyway/internal/keyway"
	"path/filepath"
	"strconv"
)

// holdOptions is a holder's command line.
type holdOptions struct {
	dir     string
	name    keyway.Name
	tty     bool
	noInput bool
	login   bool // as a login shell
	awaited bool // whoever starts it wants all of its output
	window  window
	erase   byte // the key of the terminal's user; 0: the usual one
	by      string
	onExit  string // for sh
	resume  int    // descriptor of a handover; 0: this session begins
	command []string
}

// args is o as Hold reads it.
func (o holdOptions) args() []string {
	args := []string{
		"--dir", o.dir, "--name", string(o.name), "--by", o.by,
		"--on-exit", o.onExit, "--rows", fmt.Sprint(o.window.rows), "--cols", fmt.Sprint(o.window.cols), "--erase", fmt.Sprint(o.erase),
	}
	for _, flag := range []struct {
		word string
		set  bool
	}{{"--tty", o.tty}, {"--no-input", o.noInput}, {"--login", o.login}, {"--awaited", o.awaited}} {
		if flag.set {
			args = append(args, flag.word)
		}
	}
	if o.resume > 0 {
		args = append(args, "--resume", fmt.Sprint(o.resume))
	}
	return append(append(args, "--"), o.command...)
}

func parseHoldOptions(args []string) (holdOptions, error) {
	g, err := commandLine{strict: true, options: []option{
		{name: "dir", value: true}, {name: "name", value: true}, {name: "by", value: true}, {name: "on-exit", value: true}, {name: "rows", value: true},
		{name: "cols", value: true}, {name: "tty"}, {name: "no-input"}, {name: "login"}, {name: "awaited"}, {name: "resume", value: true}, {name: "erase", value: true},
	}}.parse(args)
	if err != nil {
		return holdOptions{}, err
	}
	o := holdOptions{
		dir: g.values["dir"], by: g.values["by"], onExit: g.values["on-exit"], command: g.words,
		tty: g.has("tty"), noInput: g.has("no-input"), login: g.has("login"), awaited: g.has("awaited"),
	}
	rows, rowsErr := strconv.ParseUint(g.values["rows"], 10, 16)
	cols, colsErr := strconv.ParseUint(g.values["cols"], 10, 16)
	o.window = window{uint16(rows), uint16(cols)}
	erase, _ := strconv.ParseUint(g.values["erase"], 10, 8) // an older program gives none
	o.erase = byte(erase)
	if fd, ok := g.values["resume"]; ok {
		o.resume, err = strconv.Atoi(fd)
	}
	name, nameErr := keyway.ParseName(g.values["name"])
	o.name = name
	if err := errors.Join(rowsErr, colsErr, nameErr, err); err != nil {
		return o, err
	}
	if !filepath.IsAbs(o.dir) || len(o.command) == 0 || o.command[0] == "" {
		return o, errors.New("a holder needs a directory and a command")
	}
	return o, nil
}
