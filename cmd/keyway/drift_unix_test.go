//go:build unix

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/internal/pin"
)

// halfSeen is the kind of liar whose Docker does not run (half).
const halfSeen = "half-seen"

// half is the node of such a place: a workspace in Docker that is known only from its record,
// and two of another engine, each of a template that the place publishes.
type half struct{ liar }

// halfsWorkspaces are the workspaces that run there, with their templates. base is
// built into keyway, too.
var halfsWorkspaces = map[keyway.Name]string{"here": "base", "crew": "team"}

// halfsTemplate returns a template of the place.
func halfsTemplate(name string) catalogue.Template {
	t := catalogue.Template{Format: catalogue.Format, Name: name, Only: true}
	t.Spec.Image, t.Spec.Template = "127.0.0.1:1/"+name+"@sha256:"+strings.Repeat("a", 64), name
	return t
}

func (half) List(context.Context) (api.Listing, error) {
	list := api.Listing{
		Workspaces: []keyway.Workspace{{Name: "train", Engine: keyway.EngineDocker, State: keyway.Unknown, Origin: keyway.Origin{Template: "base"}}},
		Problems:   []*keyway.Error{keyway.Errorf(keyway.EngineDown, "Docker does not run")},
	}
	for name, template := range halfsWorkspaces {
		list.Workspaces = append(list.Workspaces, keyway.Workspace{Name: name, Engine: keyway.EnginePodman, State: keyway.Running, Origin: keyway.Origin{Template: template}})
	}
	return list, nil
}

func (half) Environments(_ context.Context, names []keyway.Name) (all []keyway.Environment, _ error) {
	for _, name := range names {
		env := halfsTemplate(halfsWorkspaces[name]).Spec.Environment()
		env.Name, env.Engine, env.Arch = name, keyway.EnginePodman, "amd64"
		env.Image.ID = "sha256:" + strings.Repeat("b", 64)
		all = append(all, env)
	}
	return all, nil
}

func (half) Templates(context.Context) (files [][]byte, _ error) {
	for _, template := range halfsWorkspaces {
		file, err := json.Marshal(halfsTemplate(template))
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (half) Facts(context.Context, keyway.Spec) (keyway.Facts, error) {
	return keyway.Facts{Arch: "amd64", Engine: keyway.EngineFacts{Name: keyway.EnginePodman, Images: true}}, nil
}

// halfSeenPlace is a laptop that knows such a place, gpu1.
func halfSeenPlace(t *testing.T) {
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(lyingPlace(t), "bin", "ssh"), "#!/bin/sh\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec "+openssh+
		" \"$@\";; esac\nexec env '"+envLiar+"=0 "+halfSeen+"' "+envMain+"=1 "+os.Args[0]+"\n", 0o755)
}

// TestOnlyAMissingImageIsTheOperators checks that keyway check prints the advice about a registry
// that fails.
func TestOnlyAMissingImageIsTheOperators(t *testing.T) {
	halfSeenPlace(t)
	t.Chdir(t.TempDir())
	for status, operators := range map[int]bool{http.StatusNotFound: true, http.StatusServiceUnavailable: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(s.Close)
		said, code := onTTY(t, nil, "check", "--on", "gpu1", "--image", strings.TrimPrefix(s.URL, "http://")+"/x:1")
		if code <= 0 || !strings.Contains(said, "/x:1") || strings.Contains(said, "docker load") != operators {
			t.Errorf("%d: ends with %d: %s", status, code, said)
		}
	}
}

// TestAnEngineThatIsDownIsNotCompared compares the workspaces of a place's Podman only, with all
// fields ignored.
func TestAnEngineThatIsDownIsNotCompared(t *testing.T) {
	halfSeenPlace(t)
	t.Chdir(t.TempDir())
	image := keyway.Environment{Arch: "amd64", Image: keyway.ImageIdentity{ID: "sha256:" + strings.Repeat("a", 64)}}
	if err := (pin.Lock{}).With(pin.FromWorkspace("base", "debian:12", image)).Write(pin.FileName); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "drift", "base", "--on", "gpu1", "--json", "--ignore", strings.Join(pin.Fields, ","))
	var news strings.Builder
	cmd.Stderr = &news
	out, _ := cmd.Output()
	var told drift
	if err := json.Unmarshal(out, &told); err != nil {
		t.Fatalf("%v: %s%s", err, out, &news)
	}
	if want := keyway.ExitCode(keyway.Errorf(keyway.EngineDown, "")); cmd.ProcessState.ExitCode() != want || told.Complete || len(told.Compared) != 1 {
		t.Errorf("ends with %d, want %d: %s%s", cmd.ProcessState.ExitCode(), want, out, &news)
	}
	if len(told.Errors) != 2 || told.Errors[0].Kind != keyway.EngineDown || !strings.Contains(told.Errors[1].Message, "gpu1/train was not inspected") {
		t.Errorf("errors: %s", out)
	}
}
