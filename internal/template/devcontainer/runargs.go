package devcontainer

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/template/document"
	"keyway/internal/template/fields"
	"keyway/internal/template/runargs"
)

// runOptions maps options of docker run to the fields of the service.
var runOptions = map[string]string{
	"--shm-size": "shm_size", "--memory": "mem_limit", "-m": "mem_limit", "--cpus": "cpus", "--pids-limit": "pids_limit", "--user": "user", "-u": "user",
	"--workdir": "working_dir", "-w": "working_dir", "--platform": "platform",
}

// runLists maps the options that may be repeated to lists of the service.
var runLists = map[string]string{"--cap-add": "cap_add", "--security-opt": "security_opt", "--device": "devices", "--tmpfs": "tmpfs"}

// runArgs converts options of docker run.
func (d *conversion) runArgs(n *yaml.Node) {
	all := document.Items(n)
	given := make([]string, len(all))
	for i, each := range all {
		given[i] = each.Value
	}
	for _, o := range runargs.Options(given) {
		option, v, at := o.Name, o.Value, all[o.Index]
		setting := "runArgs " + option
		value := document.Word(v, at.Line)
		switch {
		case o.Same():
		case option == "--read-only":
			document.Put(d.service, "read_only", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: cmp.Or(v, "true"), Line: at.Line})
		case option == "--volume" || option == "-v":
			d.volume(setting, value)
		case option == "--label" || option == "-l":
			name, text, _ := strings.Cut(v, "=")
			if w, ok := d.word(setting, document.Word(text, at.Line)); ok {
				document.Put(d.inner("labels"), name, w)
			}
		case option == "--gpus":
			d.gpus(setting, value)
		case option == "--env" || option == "-e":
			if name, v, valued := strings.Cut(v, "="); valued {
				d.variable(setting, name, document.Word(v, at.Line))
			} else { // docker takes the value from its own environment
				delete(d.set, name)
				document.Put(d.inner("environment"), name, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: at.Line})
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
}

// volume converts SOURCE:TARGET[:OPTIONS] of docker's --volume, which Compose has as well.
func (d *conversion) volume(setting string, n *yaml.Node) {
	source, options := runargs.Volume(n.Value)
	text, ok := d.substituted(n.Value)
	switch {
	case strings.HasPrefix(source, ".") || strings.Contains(source, "${localWorkspaceFolder}"):
		d.leave(setting, n, notOfTheLaptop)
	case !ok:
		d.leave(setting, n, unknownVariable)
	case slices.ContainsFunc(options, func(o string) bool { return !slices.Contains(fields.MountOptions, o) }) || n.Value == "":
		d.leave(setting, n, unknownForm)
	default:
		d.add("volumes", document.Word(text, n.Line))
	}
}

// gpus converts a value of docker's --gpus.
func (d *conversion) gpus(setting string, n *yaml.Node) {
	device := document.Mapping()
	if text, ok := d.substituted(n.Value); ok && text != n.Value { // a number, or all, of a variable
		document.Put(device, "count", document.Word(text, n.Line))
	} else {
		g, err := keyway.ParseGPUs(n.Value)
		switch {
		case err != nil || n.Value == "":
			d.leave(setting, n, unknownForm)
			return
		case len(g.IDs) > 0:
			list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line}
			for _, id := range g.IDs {
				list.Content = append(list.Content, document.Word(id, n.Line))
			}
			document.Put(device, "device_ids", list)
		case g.All:
			document.Put(device, "count", document.Word("all", n.Line))
		default:
			document.Put(device, "count", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(g.Count), Line: n.Line})
		}
	}
	document.Put(d.service, "gpus", &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Content: []*yaml.Node{device}})
}

// ulimit converts NAME=SOFT[:HARD].
func (d *conversion) ulimit(setting string, n *yaml.Node) {
	name, limits, _ := strings.Cut(n.Value, "=")
	soft, hard, two := strings.Cut(limits, ":")
	if !two {
		hard = soft
	}
	m := document.Mapping()
	for _, l := range []struct{ name, v string }{{"soft", soft}, {"hard", hard}} {
		if _, err := strconv.Atoi(l.v); err != nil || name == "" {
			d.leave(setting, n, unknownForm)
			return
		}
		document.Put(m, l.name, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: l.v, Line: n.Line})
	}
	document.Put(d.inner("ulimits"), name, m)
}
