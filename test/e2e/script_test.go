//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"keyway/test/lab"
)

// TestScripts runs testdata/*.txtar, each in a lab of its own. They check faults: the error, the exit
// code and the remains. Besides testscript's own commands there are:
//
//	lab [docker] [IMAGE…]    start the lab; must be first
//	unlocked                 keyway init and unlock have been done
//	exits CODE CMD…          run CMD on the laptop, which must exit with CODE
//	on HOST CMD…             run CMD on a host, which must work
//	sshd stop|start|newkey HOST
//	dockerd stop|start|freeze|thaw
//	answer WORD…             the answers to further questions; the last one is for all after
//	user NAME UID ALIAS      another user on gpu1, whom the laptop reaches as ALIAS
//	workspaces [NAME=STATE…] what keyway ls must tell, and nothing else
//	nothing-left             no container, no guest and no Host entry exists
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lab":          func(ts *testscript.TestScript, _ bool, args []string) { cmdLab(t, ts, args) },
			"unlocked":     cmdUnlocked,
			"exits":        cmdExits,
			"on":           cmdOn,
			"sshd":         cmdSSHD,
			"dockerd":      cmdDockerd,
			"answer":       cmdAnswer,
			"user":         cmdUser,
			"workspaces":   cmdWorkspaces,
			"nothing-left": cmdNothingLeft,
		},
	})
}

// scripts holds the lab of each running script.
var scripts = newRegistry()

func theWorld(ts *testscript.TestScript) *world {
	w := scripts.get(ts)
	if w == nil {
		ts.Fatalf("the script has no lab: begin it with lab")
	}
	return w
}

func must(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

func wants(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// cmdLab starts a lab. That it cannot be taken down fails t: the script may have failed
// already, and must not fail again.
func cmdLab(t *testing.T, ts *testscript.TestScript, args []string) {
	o := lab.Options{Bin: bin}
	for _, a := range args {
		if a == "docker" {
			o.Docker = true
		} else {
			o.Images = append(o.Images, lab.Image("keyway-lab/"+a))
		}
	}
	l, err := lab.Start(context.Background(), o)
	must(ts, err)
	scripts.set(ts, &world{l})
	ts.Defer(func() {
		scripts.set(ts, nil)
		if err := l.Close(); err != nil {
			t.Errorf("%s: %v", ts.Name(), err)
		}
	})
	must(ts, l.DockerError)
}

func cmdUnlocked(ts *testscript.TestScript, neg bool, args []string) {
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}} {
		if r := theWorld(ts).do(argv...); r.Code != 0 {
			ts.Fatalf("%s", r)
		}
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, len(args) >= 2 && !neg, "exits CODE CMD…")
	code, err := strconv.Atoi(args[0])
	must(ts, err)
	r := theWorld(ts).do(args[1:]...)
	_, err1 := ts.Stdout().Write([]byte(r.Stdout))
	_, err2 := ts.Stderr().Write([]byte(r.Stderr))
	must(ts, errors.Join(err1, err2))
	if r.Code != code {
		ts.Fatalf("want exit code %d: %s", code, r)
	}
}

func host(ts *testscript.TestScript, name string) *lab.Host {
	for _, h := range theWorld(ts).Hosts() {
		if h.Name == name {
			return h
		}
	}
	ts.Fatalf("there is no host %q", name)
	return nil
}

func cmdOn(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, len(args) >= 2, "on HOST CMD…")
	cmd := host(ts, args[0]).Command(args[1], args[2:]...)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	err := cmd.Run()
	var exit *exec.ExitError
	if neg && errors.As(err, &exit) {
		return
	}
	if neg {
		ts.Fatalf("it worked, or did not run: %v", err)
	}
	must(ts, err)
}

func cmdSSHD(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, len(args) == 2, "sshd stop|start|newkey HOST")
	h := host(ts, args[1])
	switch args[0] {
	case "stop":
		h.KillSSHD()
	case "start":
		must(ts, h.StartSSHD())
	case "newkey":
		h.KillSSHD()
		must(ts, h.NewHostKey())
		must(ts, h.StartSSHD())
	}
}

func cmdDockerd(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, len(args) == 1, "dockerd stop|start|freeze|thaw")
	w := theWorld(ts)
	switch args[0] {
	case "stop":
		w.StopDockerd()
	case "start":
		must(ts, w.StartDockerd())
	case "freeze":
		must(ts, lab.Kill(syscall.SIGSTOP, w.GPU.Processes("dockerd")...))
	case "thaw":
		must(ts, lab.Kill(syscall.SIGCONT, w.GPU.Processes("dockerd")...))
	}
}

func cmdAnswer(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, len(args) > 0, "answer WORD…")
	must(ts, theWorld(ts).Answer(args...))
}

func cmdUser(ts *testscript.TestScript, neg bool, args []string) {
	wants(ts, len(args) == 3, "user NAME UID ALIAS")
	uid, err := strconv.Atoi(args[1])
	must(ts, err)
	w := theWorld(ts)
	must(ts, w.AddUser(w.GPU, args[0], uid, args[2]))
}

func cmdWorkspaces(ts *testscript.TestScript, neg bool, args []string) {
	r := theWorld(ts).do("keyway", "ls", "--json")
	var all []listed
	if err := json.Unmarshal([]byte(r.Stdout), &all); r.Code != 0 || err != nil {
		ts.Fatalf("%v: %s", err, r)
	}
	got := []string{}
	for _, l := range all {
		got = append(got, l.Name+"="+l.State)
	}
	slices.Sort(got)
	if !slices.Equal(got, args) {
		ts.Fatalf("keyway ls tells of %q, want %q", got, args)
	}
}

func cmdNothingLeft(ts *testscript.TestScript, neg bool, args []string) {
	must(ts, theWorld(ts).nothingLeft())
}

// nothingLeft returns the remains of workspaces where there should be none.
func (w *world) nothingLeft() error {
	if ids, err := w.Docker("ps", "-aq"); err == nil && ids != "" {
		return errors.New("there are containers: " + ids)
	}
	if pids := w.GPU.ProcessesInside("keyway-guest"); len(pids) != 0 {
		return errors.New("there are guests")
	}
	for _, dir := range []string{"/root/.local/state/keyway/workspaces"} {
		out, err := w.GPU.Output("sh", "-c", "[ ! -d "+dir+" ] || ls -A "+dir)
		if err != nil || strings.TrimSpace(out) != "" {
			return errors.Join(err, errors.New("there are workspace directories: "+out))
		}
	}
	config, err := w.Laptop.ReadFile("/root/.local/state/keyway/ssh_config")
	if err == nil && strings.Contains(config, "\nHost ") {
		return errors.New("ssh knows a workspace: " + config)
	}
	return nil
}
