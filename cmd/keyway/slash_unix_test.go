//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"keyway/internal/dirs"
	"keyway/internal/keyway"
	"keyway/internal/pin"
)

// slashes are command lines that name a workspace where a place is meant, a place where a workspace
// is meant, or half of both; each with its error.
var slashes = map[string]string{
	"rm train/evil --yes":                       "train is a workspace, not a place",
	"stop train/evil --yes":                     "train is a workspace, not a place",
	"start train/evil":                          "train is a workspace, not a place",
	"forget train/evil":                         "train is a workspace, not a place",
	"ls train/evil":                             "train is a workspace, not a place",
	"ssh train/evil":                            "train is a workspace, not a place",
	"run train/evil -- true":                    "train is a workspace, not a place",
	"proxy train/evil":                          "train is a workspace, not a place",
	"mux on train/evil":                         "train is a workspace, not a place",
	"mux off train/evil":                        "train is a workspace, not a place",
	"add train/evil --yes":                      "train is a workspace, not a place",
	"ls --on train":                             "train is a workspace, not a place",
	"status train":                              "train is a workspace, not a place",
	"gpus --on train":                           "train is a workspace, not a place",
	"check base --on train":                     "train is a workspace, not a place",
	"bake base -t x:1 --on train":               "train is a workspace, not a place",
	"up --on train --image x --name other":      "train is a workspace, not a place",
	"drift base --on train":                     "train is a workspace, not a place",
	"pin base --on train":                       "train is a workspace, not a place",
	"open train/evil 8888":                      "train is a workspace, not a place",
	"ports train/evil":                          "train is a workspace, not a place",
	"rm ada@train/evil --yes":                   "ada@train is a workspace, not a place",
	"ls --on ada@train":                         "ada@train is a workspace, not a place",
	"status a@b@train":                          "a@b@train is a workspace, not a place",
	"add ada@train/evil --yes":                  "ada@train is a workspace, not a place",
	"up --on ada@train --image x --name other":  "ada@train is a workspace, not a place",
	"rm /train --yes":                           "neither",
	"rm train/ --yes":                           "neither",
	"rm /":                                      "neither",
	"stop /train --yes":                         "neither",
	"start gpu1/":                               "neither",
	"forget /train":                             "neither",
	"ls /train":                                 "neither",
	"ssh /train":                                "neither",
	"run /train -- true":                        "neither",
	"proxy /train":                              "neither",
	"mux on /train":                             "neither",
	"add /train --yes":                          "empty",
	"add gpu1/ --yes":                           "empty",
	"attach gpu1/other":                         "gpu1 is a place, not a workspace",
	"logs gpu1/other":                           "gpu1 is a place, not a workspace",
	"wait gpu1/other":                           "gpu1 is a place, not a workspace",
	"kill gpu1/other":                           "gpu1 is a place, not a workspace",
	"send gpu1/other x":                         "gpu1 is a place, not a workspace",
	"kill gpu1/train":                           "needs a job",
	"send gpu1/train x":                         "needs a job",
	"rm gpu1 --yes":                             "gpu1 is a place, not a workspace",
	"up --on gpu1 --image x --name train/evil":  "cannot be a name",
	"up --on gpu1/train --image x --name other": "cannot be a place",
	"adopt web --on gpu1/train":                 "cannot be a place",
	"adopt web --on train":                      "train is a workspace, not a place",
	"adopt gpu1/web":                            "cannot be the name or ID of a container",
	"templates --on train":                      "train is a workspace, not a place",
	"templates --on gpu1/train":                 "cannot be a place",
}

// TestAWorkspaceIsNoPlace checks that a workspace is not accepted as a place: ssh would reach it,
// and keyway would put a node into it. Half a name is refused, too.
func TestAWorkspaceIsNoPlace(t *testing.T) {
	openssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	home := lyingPlace(t)
	t.Chdir(t.TempDir())
	image := keyway.Environment{Arch: "amd64", Image: keyway.ImageIdentity{ID: "sha256:" + strings.Repeat("a", 64)}}
	if err := (pin.Lock{}).With(pin.FromWorkspace("base", "debian:12", image)).Write(pin.FileName); err != nil { // for keyway drift
		t.Fatal(err)
	}
	dialled := filepath.Join(home, "dialled")
	write(t, filepath.Join(home, "bin", "ssh"), "#!/bin/sh\ncase \" $* \" in *\" -G \"*|*\" -V \"*) exec "+openssh+
		" \"$@\";; esac\necho \"$*\" >>"+dialled+"\nexit 255\n", 0o755)
	state, err := dirs.State()
	if err != nil {
		t.Fatal(err)
	}
	known := read(t, filepath.Join(state, "hosts.json"))
	for line, says := range slashes {
		said, code := onTTY(t, nil, strings.Fields(line)...)
		if code == 0 || !strings.Contains(said, says) || !strings.Contains(said, "→") {
			t.Errorf("keyway %s exits with %d and does not say %q with a next step:\n%s", line, code, says, said)
		}
		if now := read(t, filepath.Join(state, "hosts.json")); string(now) != string(known) {
			t.Fatalf("keyway %s changes what this laptop knows:\n%s", line, now)
		}
	}
	if calls, err := os.ReadFile(dialled); err == nil {
		t.Errorf("it was connected to:\n%s", calls)
	}
}

// TestSlashesOfAllCommands checks that every command that takes a workspace or a place is in the
// table.
func TestSlashesOfAllCommands(t *testing.T) {
	takesOne := regexp.MustCompile(`NAME|PLACE`)
	without := map[string]string{
		"keyway mux serve": "it is started by proxy, with a name that was looked up", "keyway templates show": "a template has a name of its own",
	}
	commands(newRootCommand(), func(c *cobra.Command) {
		path := c.CommandPath()
		if without[path] != "" || !takesOne.MatchString(c.Use) && c.Flags().Lookup("on") == nil {
			return
		}
		words := strings.TrimPrefix(path, "keyway ") + " "
		for line := range slashes {
			if strings.HasPrefix(line, words) {
				return
			}
		}
		t.Errorf("%s (%s) is in no line", path, c.Use)
	})
}
