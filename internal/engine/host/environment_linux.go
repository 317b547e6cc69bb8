package host

import (
	"cmp"
	"context"
	"os"
	"runtime"

	"keyway/internal/engine"
	"keyway/internal/installed"
	"keyway/internal/keyway"
)

// Environments describes the environments of the workspaces, in that order; see keyway.Environment.
// All workspaces of this engine have the files of the machine.
func (e *Engine) Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error) {
	all := make([]keyway.Environment, len(names))
	for i, name := range names {
		env, err := e.environment(name)
		env.Name, env.Error = name, keyway.AsError(err)
		all[i] = env
	}
	return all, ctx.Err()
}

func (e *Engine) environment(name keyway.Name) (keyway.Environment, error) {
	rec, err := e.find(name)
	if err != nil {
		return keyway.Environment{}, err
	}
	if !alive(e.homes.Home(name)) {
		return keyway.Environment{}, engine.NotRunning(name, "it has ended")
	}
	s := rec.Spec
	env := s.Environment()
	env.Engine, env.Arch, env.User = Name, runtime.GOARCH, keyway.UserCaller
	if info, err := engine.Info(e.homes.Home(name)); err == nil {
		env.Guest = info.Version
	}
	home, _ := os.UserHomeDir()
	env.Software, err = installed.Read(os.DirFS("/"), installed.Where{
		Path: cmp.Or(s.Env["PATH"], os.Getenv("PATH")), PythonPath: s.Env["PYTHONPATH"], Home: cmp.Or(s.Env["HOME"], home),
	})
	return env, err
}
