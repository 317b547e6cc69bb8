//go:build linux

package enginetest

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"keyway/internal/keyway"
)

// surveyor is an engine that reports the real environments of its workspaces.
type surveyor interface {
	Environments(ctx context.Context, names []keyway.Name) ([]keyway.Environment, error)
}

// environments tests the contract of an engine with api.AbilityEnvironments.
func environments(t *testing.T, s Subject) {
	e, ok := s.Engine.(surveyor)
	if !ok {
		t.Fatalf("the engine has no Environments, and its test says that it can: %q", s.Abilities)
	}
	look := func(names ...keyway.Name) []keyway.Environment {
		t.Helper()
		all, err := e.Environments(Context(t), names)
		if err != nil || len(all) != len(names) {
			t.Fatalf("%d of %d are told of: %v", len(all), len(names), err)
		}
		return all
	}
	dir := "/tmp/keyway-packages-" + strconv.Itoa(os.Getpid())
	spec := s.Spec(t, "survey")
	spec.Env = map[string]string{"PYTHONPATH": dir, "TOKEN": "hf_secret"}
	w := s.Create(t, spec)
	s.Run(t, w, "plant "+dir+"/numpy-2.1.0.dist-info")
	s.Run(t, w, "pipe "+dir+"/torch/version.py")

	got := look("absent", "survey")
	if got[0].Name != "absent" || !keyway.Is(asError(got[0].Error), keyway.NotFound) {
		t.Errorf("of a workspace that is not there: %+v", got[0])
	}
	env := got[1]
	if env.Error != nil {
		t.Fatal(Full(env.Error))
	}
	if env.Name != "survey" || env.Engine != s.Engine.Name() || env.Arch != runtime.GOARCH || env.Guest == "" || !slices.Contains(env.Python, "numpy==2.1.0") {
		t.Errorf("it is told to be %+v", env)
	}
	if want := spec.Environment().Variables; !slices.Equal(env.Variables, want) {
		t.Errorf("the variables are %v, want %v", env.Variables, want)
	}
	if len(env.Files) != 0 || s.Image != "" && env.Image.ID == "" && len(env.Image.Digests) == 0 {
		t.Errorf("the image is %+v, changed are %v", env.Image, env.Files)
	}
	s.Run(t, w, "uproot "+dir) // which may be the machine's own
	s.changedFile(t, e, w)

	if err := s.Engine.Stop(Context(t), "survey", 0); err != nil {
		t.Fatal(Full(err))
	}
	if got := look("survey")[0]; !keyway.Is(asError(got.Error), keyway.NotRunning) {
		t.Errorf("of a workspace that does not run: %+v", got)
	}
	if got := look(); len(got) != 0 {
		t.Errorf("of none: %v", got)
	}
}

// changedFile has a workspace change its image, if it has an image of its own.
func (s Subject) changedFile(t *testing.T, e surveyor, w keyway.Workspace) {
	if s.Image == "" {
		return
	}
	s.Run(t, w, "write /made text")
	s.Run(t, w, "chmod "+s.Tool)
	got, err := e.Environments(Context(t), []keyway.Name{w.Name})
	if err != nil || got[0].Error != nil {
		t.Fatal(err, got)
	}
	files := got[0].Files
	if len(files) != 1 || files[0].Path != s.Tool || files[0].Change != keyway.ChangeModified || len(files[0].Hash) != len("sha256:")+64 {
		t.Errorf("changed are %+v, want %s", files, s.Tool)
	}
}

// asError returns e as an error, in which a nil e is nil.
func asError(e *keyway.Error) error {
	if e == nil {
		return nil
	}
	return e
}
