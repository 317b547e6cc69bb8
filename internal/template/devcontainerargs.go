package template

import (
	"cmp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/template/fields"
)

// runOptions maps options of docker run to the fields of the service.
var runOptions = map[string]string{
	"--shm-size": "shm_size", "--memory": "mem_limit", "-m": "mem_limit", "--cpus": "cpus", "--pids-limit": "pids_limit", "--user": "user", "-u": "user",
	"--workdir": "working_dir", "-w": "working_dir",
}

// runLists maps the options that may be repeated to lists of the service.
var runLists = map[string]string{"--cap-add": "cap_add", "--security-opt": "security_opt", "--device": "devices", "--tmpfs": "tmpfs"}

// runArgs converts options of docker run.
func (d *devcontainer) runArgs(n *yaml.Node) {
	all := items(n)
	for i := 0; i < len(all); i++ {
		option, v, given := strings.Cut(all[i].Value, "=")
		at := all[i]
		if !given && i+1 < len(all) && !strings.HasPrefix(all[i+1].Value, "-") {
			i++
			v = all[i].Value
		}
		setting := "runArgs " + option
		value := word(v, at.Line)
		switch {
		case option == "--init":
			put(d.service, "init", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true", Line: at.Line})
		case option == "--gpus":
			d.gpus(setting, value)
		case option == "--env" || option == "-e":
			if name, v, valued := strings.Cut(v, "="); valued {
				d.variable(setting, name, word(v, at.Line))
			} else { // docker takes the value from its own environment
				put(d.inner("environment"), name, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: at.Line})
			}
		case option == "--ulimit":
			d.ulimit(setting, value)
		case option == "--mount":
			d.mount(setting, value)
		case runOptions[option] != "":
			d.text(setting, runOptions[option], value)
		case runLists[option] != "":
			d.list(setting, runLists[option], value)
		default:
			d.leave(setting, at, cmp.Or(runReasons[option], fields.Reason{Why: "a workspace has no such option"}))
		}
	}
}

// runReasons maps each option that is left out to the reason.
var runReasons = map[string]fields.Reason{
	"--ipc":        {Why: "its owner chooses that when the workspace is made", Step: keyway.InsteadIPC},
	"--privileged": {Why: "name the capabilities that it needs instead: --cap-add"},
	"--network":    fields.NotNow, "--net": fields.NotNow, "-p": {Why: fields.NotNetworks}, "--publish": {Why: fields.NotNetworks},
	"--name": {Why: "the workspace is named when it is made", Step: keyway.InsteadName}, "--rm": {Why: "a workspace stays until you remove it", Step: keyway.InsteadStop},
	"--runtime": {Why: "ask for GPUs by --gpus, and the engine finds the runtime"},
	"-v":        {Why: "write it in mounts, or name it when you make the workspace", Step: keyway.InsteadMount},
	"--volume":  {Why: "write it in mounts, or name it when you make the workspace", Step: keyway.InsteadMount},
}

// gpus converts a value of docker's --gpus: all, a number or device=….
func (d *devcontainer) gpus(setting string, n *yaml.Node) {
	ids, isList := strings.CutPrefix(strings.Trim(n.Value, `"'`), "device=")
	_, err := strconv.Atoi(n.Value)
	switch {
	case n.Value == "all":
		put(d.service, "gpus", n)
	case isList || err == nil:
		device := mapping()
		if isList {
			list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line}
			for id := range strings.SplitSeq(ids, ",") {
				list.Content = append(list.Content, word(id, n.Line))
			}
			put(device, "device_ids", list)
		} else {
			put(device, "count", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: n.Value, Line: n.Line})
		}
		put(d.service, "gpus", &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Content: []*yaml.Node{device}})
	default:
		d.leave(setting, n, unknownForm)
	}
}

// ulimit converts NAME=SOFT[:HARD].
func (d *devcontainer) ulimit(setting string, n *yaml.Node) {
	name, limits, _ := strings.Cut(n.Value, "=")
	soft, hard, two := strings.Cut(limits, ":")
	if !two {
		hard = soft
	}
	m := mapping()
	for _, l := range []struct{ name, v string }{{"soft", soft}, {"hard", hard}} {
		if _, err := strconv.Atoi(l.v); err != nil || name == "" {
			d.leave(setting, n, unknownForm)
			return
		}
		put(m, l.name, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: l.v, Line: n.Line})
	}
	put(d.inner("ulimits"), name, m)
}
