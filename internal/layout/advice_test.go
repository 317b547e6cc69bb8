package layout

import (
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// faces speak to people by themselves, in the words of a command line, and why.
var faces = map[string]string{
	"cmd/keyway":              "the command line",
	"internal/session/words":  "the commands inside a workspace",
	"internal/session/view":   "the process that owns a user's terminal",
	"internal/guest":          "what it prints is read in a shell of the workspace, or in its log",
	"internal/session/option": "the help of those commands",
	"cmd/keyway-jupyter":      "its own usage, read in the log of its job",
	"internal/jupyter/front":  "its pages are read in a browser, beside that shell",
}

// processes are commands that people do not type. A text may name a process by its command.
var processes = []string{"agent", "link", "mux", "proxy"}

// othersOptions are the options that a file gives to programs which it starts, reads in
// somebody's file, or names together with a program that is not keyway.
var othersOptions = map[string]string{
	// dbus-monitor, loginctl
	"internal/agent/logind.go": "--system --property --value",
	// the program that is to take over
	"internal/agentd/renew_linux.go": "--help",
	// systemctl
	"internal/agentd/service.go": "--user --now",
	// nvidia-ctk
	"internal/compat/compat.go": "--output --runtime --create-all",
	// the guest program
	"internal/engine/docker/container.go": "--home",
	// docker, podman
	"internal/engine/docker/create.go": "--rm",
	// systemctl
	"internal/engine/docker/daemon/connect.go": "--user",
	// the guest program
	"internal/engine/docker/inside/inside.go": "--home",
	// docker, podman
	"internal/engine/docker/images/pull.go": "--platform",
	// the guest program
	"internal/engine/docker/lifecycle.go": "--home",
	// nvidia-ctk
	"internal/engine/docker/refuse.go": "--runtime",
	// keyway in the workspace
	"internal/engine/docker/inside/ask.go": "--json",
	// systemd-run
	"internal/engine/host/logout_linux.go": "--user --scope --quiet --collect",
	// the guest program
	"internal/engine/host/process_linux.go": "--home",
	// nvidia-smi
	"internal/gpu/driver.go": "--query-gpu --format",
	// keyway in the workspace
	"internal/laptop/joblist.go": "--json",
	// keyway-jupyter
	"internal/laptop/jupyter.go": "--wait",
	// keyway in the workspace
	"internal/laptop/ports.go": "--json --as",
	// keyway in the workspace
	"internal/laptop/watch.go": "--json",
	// the node
	"internal/link/bootstrap.go": "--stdio",
	// the node
	"internal/link/ssh.go": "--stdio",
	// its own: the link starts it with this
	"internal/noded/noded.go": "--stdio",
	// jupyter, tensorboard
	"internal/open/targets.go": "--no-browser --ip --allow-root --host --logdir",
	// its own
	"internal/session/holder/main.go": "--handover",
	// its own
	"internal/session/holder/options.go": "--dir --name --by --on-exit --rows --cols --erase --tty --no-input --login --awaited --resume",
	// the holder
	"internal/session/holder/renew.go": "--handover",
	// devcontainer, the command line
	"internal/template/devcontainer/devcontainer.go": "--workspace-folder --image-name",
	// docker run, in a devcontainer.json
	"internal/template/devcontainer/runargs.go": "--shm-size --memory --cpus --pids-limit --user --workdir --cap-add --security-opt --device --tmpfs --read-only --volume --label --gpus --env --ulimit --mount --ipc --privileged --network --net --publish --name --rm --runtime --platform",
	// docker run
	"internal/template/runargs/runargs.go": "--init --privileged --rm --read-only --tty --interactive --detach --no-healthcheck --oom-kill-disable --publish-all --sig-proxy --ipc --network --net --pull --restart --runtime --isolation --cgroupns --quiet",
	// notify-send
	"internal/watch/desktop.go": "--app-name",
}

// spoken are texts that only look like advice, and why.
var spoken = map[string]string{
	"keyway approve":       "who has answered, as the log has it",
	"ended by keyway kill": "who has ended a session, as its record has it",
	"it is not what keyway templates publish writes: %w": "which program writes such a file",
}

// TestAdviceIsTheFaces checks that packages without a command line of their own have no texts that
// tell people what to type. They give a keyway.Step instead.
func TestAdviceIsTheFaces(t *testing.T) {
	advises := advice(t)
	used := map[string]bool{}
	programs(t, func(file string, data []byte) {
		dir := path.Dir(file)
		for _, text := range literals(t, file, data) {
			for _, option := range options(text) {
				switch {
				case faces[dir] != "":
					used[dir] = true
				case slices.Contains(strings.Fields(othersOptions[file]), option):
					used[file+" "+option] = true
				default:
					t.Errorf("%s: %.100q: an option is named in advice only, by its word without dashes", file, text)
				}
			}
			switch _, excused := spoken[text]; {
			case !advises.MatchString(text):
			case faces[dir] != "":
				used[dir] = true
			case excused:
				used[text] = true
			default:
				t.Errorf("%s: %.100q: give a keyway.Step, and its sentence in cmd/keyway/advice.go", file, text)
			}
		}
	})
	for _, excuse := range slices.Sorted(maps.Keys(faces)) {
		if !used[excuse] {
			t.Errorf("%s gives no advice any more: take it off the list", excuse)
		}
	}
	for _, file := range slices.Sorted(maps.Keys(othersOptions)) {
		for option := range strings.FieldsSeq(othersOptions[file]) {
			if !used[file+" "+option] {
				t.Errorf("%s has %s no more: take it off the list", file, option)
			}
		}
	}
	for _, excuse := range slices.Sorted(maps.Keys(spoken)) {
		if !used[excuse] {
			t.Errorf("nobody says %q any more: take it off the list", excuse)
		}
	}
}

// options returns the long options in a text.
func options(text string) (names []string) {
	for _, m := range optionWord.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

var optionWord = regexp.MustCompile("(?:^|[\\s\"'`(=])(--[a-z][a-z-]*)")

// advice matches a command of keyway's, by the names that the commands have.
func advice(t *testing.T) *regexp.Regexp {
	t.Helper()
	use := regexp.MustCompile(`(?:\bUse:\s+|[a-z]Command\()"([a-z][a-z-]*)`)
	var names []string
	sources(t, ".go", func(file string, data []byte) {
		if path.Dir(filepath.ToSlash(file)) != "cmd/keyway" {
			return
		}
		for _, m := range use.FindAllSubmatch(data, -1) {
			if name := string(m[1]); !slices.Contains(processes, name) && name != "keyway" {
				names = append(names, name)
			}
		}
	})
	if len(names) < 30 {
		t.Fatalf("only %d commands found: has their form changed?", len(names))
	}
	return regexp.MustCompile(`\bkeyway (` + strings.Join(names, "|") + `)\b`)
}

func TestOptionsAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"--gpus": "--gpus", "leave --gpus out": "--gpus", "(--ulimit)": "--ulimit", "--app-name=x --on": "--app-name --on",
		"a--b": "", "-- x": "", "NAME --": "", "----": "", "gpus": "",
	} {
		if got := strings.Join(options(text), " "); got != want {
			t.Errorf("%q has %q", text, got)
		}
	}
}

func TestAdviceIsFound(t *testing.T) {
	advises := advice(t)
	for text, is := range map[string]bool{
		"paused; keyway start train goes on with it": true, "see: keyway ls": true, "keyway up %s": true,
		"the keyway at gpu1": false, "keyway carries no such program": false, "the process (keyway link) was killed": false,
	} {
		if advises.MatchString(text) != is {
			t.Errorf("%q is advice: %t", text, !is)
		}
	}
}
