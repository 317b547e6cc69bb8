package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"keyway/internal/assets"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/open"
)

// jupyterFlags holds the options of keyway open that are for Jupyter.
type jupyterFlags struct{ lab, notebook, vscode bool }

func (j *jupyterFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&j.lab, "lab", false, "with jupyter: JupyterLab, if none runs yet")
	f.BoolVar(&j.notebook, "notebook", false, "with jupyter: the notebook, if none runs yet")
	f.BoolVar(&j.vscode, "vscode", false, "with jupyter: print the URL for VS Code's Existing Jupyter Server")
}

const vscodeAdvice = "[in a window of VS Code on this laptop: Select Kernel, Existing Jupyter Server, and paste this URL; it stays the same]\n"

// limitsAdvice is the notice about a Jupyter server that keyway did not start.
const limitsAdvice = "[this Jupyter server was not started by keyway and keeps its limits: it drops output that exceeds them. " +
	"To lift them, start it with --ServerApp.iopub_msg_rate_limit=0 --ServerApp.iopub_data_rate_limit=0]\n"

// errUnkept reports that Jupyter was opened without keyway-jupyter, so that output is lost while
// no page shows it.
var errUnkept = errors.New("output that no page shows is lost")

// jupyter starts keyway-jupyter in the workspace, unless it runs, and returns its address.
func (o opening) jupyter(ctx context.Context, w insideOf, args []string) (open.Server, error) {
	if o.lab && o.notebook {
		return open.Server{}, keyway.Errorf(keyway.Usage, "--lab and --notebook exclude each other")
	}
	program, err := o.app.JupyterProgram(ctx, o.entry, jupyterPrograms(), func() {
		o.app.ui.Progress(keyway.Progress{Message: "sending keyway-jupyter to " + string(o.entry.Name)})
	})
	if err != nil {
		return open.Server{}, fmt.Errorf("%w, since keyway-jupyter does not run in %s: %s", errUnkept, o.entry.Name, keyway.AsError(err).Message)
	}
	session, at, err := o.keeper(ctx, w, program, args)
	if err != nil {
		return open.Server{}, err
	}
	if err := o.app.TellOfCells(o.entry.Name, session); err != nil {
		return open.Server{}, err
	}
	path := at.Base + at.Page
	if o.vscode {
		path = at.Base
	}
	return open.Server{Socket: at.Socket, Path: path, Token: at.Token, Session: session}, nil
}

// keeper finds a running keyway-jupyter, or starts one.
func (o opening) keeper(ctx context.Context, w insideOf, program string, args []string) (session keyway.Name, at laptop.JupyterAt, err error) {
	session = jupyterSession
	if at, err = o.app.WhereJupyter(ctx, o.entry, program, 0); err == nil {
		return session, at, nil
	}
	runs, err := w.Runs(ctx, session)
	if err != nil {
		return session, at, err
	}
	if runs { // a Jupyter server without keyway-jupyter, which then finds that server
		session = keeperSession
	}
	o.app.ui.Progress(keyway.Progress{Message: "starting Jupyter in " + string(o.entry.Name)})
	argv := []string{program, "serve"}
	switch {
	case o.lab:
		argv = append(argv, "--lab")
	case o.notebook:
		argv = append(argv, "--notebook")
	}
	if len(args) > 0 {
		argv = append(append(argv, "--"), args...)
	}
	if err := w.Start(ctx, session, argv...); err != nil {
		return session, at, err
	}
	for {
		if at, err = o.app.WhereJupyter(ctx, o.entry, program, jupyterPatience); err == nil {
			if at.Server == "found" {
				fmt.Fprint(o.news, limitsAdvice)
			}
			return session, at, nil
		}
		if ctx.Err() != nil {
			return session, at, ctx.Err()
		}
		if runs, err := w.Runs(ctx, session); err != nil {
			return session, at, err
		} else if !runs {
			return session, at, keyway.Errorf(keyway.NotRunning, "Jupyter has ended before it listened").
				Hint("see its output: keyway logs %s/%s", o.entry.Name, session)
		}
	}
}

const (
	jupyterSession keyway.Name = "jupyter"
	keeperSession  keyway.Name = "jupyter-keep"
	// jupyterPatience is the time between two checks whether the session still runs, in seconds.
	jupyterPatience = 3
)

// jupyterPrograms returns the keyway-jupyter programs that this keyway carries, or the one in its
// own directory.
func jupyterPrograms() map[string]laptop.PackedProgram {
	all := map[string]laptop.PackedProgram{}
	for _, arch := range []string{"amd64", "arm64"} {
		if p, ok := assets.Jupyter(arch); ok {
			all[arch] = laptop.PackedProgram{Hash: p.Hash, Gzip: p.Gzip}
		}
	}
	if self, err := os.Executable(); err == nil && len(all) == 0 {
		if data, err := os.ReadFile(filepath.Join(filepath.Dir(self), "keyway-jupyter")); err == nil {
			if arch := elfArch(data); arch != "" {
				all[arch] = laptop.Pack(data)
			}
		}
	}
	return all
}

// elfArch returns the GOARCH of a Linux program, or "".
func elfArch(program []byte) string {
	if !bytes.HasPrefix(program, []byte("\x7fELF\x02\x01")) || len(program) < 20 {
		return ""
	}
	return map[string]string{"\x3e\x00": "amd64", "\xb7\x00": "arm64"}[string(program[18:20])]
}

// where returns the address inside the workspace on which a server listens.
func where(s open.Server) string {
	if s.Socket != "" {
		return "a socket"
	}
	return fmt.Sprintf("port %d", s.Port)
}
