package template

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/template/fields"
)

// devcontainerName is the name of the template of a devcontainer.json.
const devcontainerName = "devcontainer"

// devcontainerFiles lists where a devcontainer.json may be, relative to the directory that it
// describes.
var devcontainerFiles = []string{".devcontainer/devcontainer.json", ".devcontainer.json"}

// Left is a setting of a devcontainer.json that was left out.
type Left struct {
	Setting string `json:"setting"`
	Line    int    `json:"line"`
	Why     string `json:"why"`
	// Advice names a substitute for the setting.
	Advice []keyway.Advice `json:"advice,omitempty"`
}

// readDevcontainer reads a devcontainer.json as a Compose file with one service, and lists the
// settings that a workspace cannot have.
func readDevcontainer(file string) (*document, []Left, error) {
	data, err := keyway.ReadPlainFile(file, maxFile+1)
	if err != nil {
		return nil, nil, keyway.Errorf(keyway.BadConfig, "%s cannot be read: %w", file, err)
	}
	return parseDevcontainer(file, data)
}

func parseDevcontainer(file string, data []byte) (*document, []Left, error) {
	doc, err := parseDocument(file, withoutComments(data)) // YAML contains JSON
	if err != nil {
		return nil, nil, err
	}
	d := &devcontainer{service: mapping(), volumes: mapping()}
	if err := d.refuse(doc); err != nil {
		return nil, nil, err
	}
	for _, name := range settingOrder {
		if n := field(doc.root, name); n != nil {
			d.take(name, n)
		}
	}
	for _, p := range ownPairs(doc.root) {
		if !slices.Contains(settingOrder, p.key.Value) && !slices.Contains(meaningless, p.key.Value) {
			d.leave(p.key.Value, p.key, reasonFor(p.key.Value))
		}
	}
	services := mapping()
	put(services, devcontainerName, d.service)
	root := mapping()
	put(root, "services", services)
	put(root, "volumes", d.volumes)
	slices.SortStableFunc(d.left, func(a, b Left) int { return a.Line - b.Line })
	return &document{file: file, root: root}, d.left, nil
}

// withoutComments returns JSON in which comments, and tabs outside strings, are replaced by
// blanks. Line numbers stay the same.
func withoutComments(data []byte) []byte {
	return notJSON.ReplaceAllFunc(data, func(found []byte) []byte {
		if found[0] == '"' {
			return asYAML(found)
		}
		return notNewline.ReplaceAll(found, []byte(" "))
	})
}

// asYAML rewrites a JSON string so that YAML reads it as the same text. YAML has no \/, and does
// not join two escapes into one character.
func asYAML(text []byte) []byte {
	var s string
	if !bytes.ContainsRune(text, '\\') || json.Unmarshal(text, &s) != nil {
		return text
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return text
	}
	return bytes.TrimSpace(b.Bytes())
}

var (
	// notJSON matches comments and tabs, and also strings, so that nothing is found inside them.
	notJSON    = lazyregexp.New(`"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*(?s:.*?)\*/|\t`)
	notNewline = lazyregexp.New(`[^\n]`)
)

// devcontainer is the conversion of one devcontainer.json.
type devcontainer struct {
	service, volumes *yaml.Node
	left             []Left
}

// refuse refuses a file that does not itself say what to run.
func (d *devcontainer) refuse(doc *document) error {
	if n := field(doc.root, "dockerComposeFile"); n != nil {
		return doc.errorf(n, "it is about a service of a Compose file").Advise(keyway.InsteadService)
	}
	if field(doc.root, "image") != nil {
		return nil
	}
	for _, name := range []string{"build", "dockerFile"} {
		if n := field(doc.root, name); n != nil {
			return doc.errorf(n, "%s: an image is built where it will run, or pulled", name).
				Hint("docker build -t NAME . at the place, then name it here: \"image\": \"NAME\"")
		}
	}
	return doc.errorf(doc.root, "it names no image").Hint("for example: \"image\": \"pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel\"")
}

func (d *devcontainer) leave(setting string, n *yaml.Node, r fields.Reason) {
	d.left = append(d.left, Left{Setting: setting, Line: n.Line, Why: r.Why, Advice: r.Advice()})
}

var (
	unknownForm     = fields.Reason{Why: "keyway does not know this form of it"}
	unknownVariable = fields.Reason{Why: "keyway has no value for the variable in it"}
)

// settingOrder lists the settings that are converted, in order. If two of them set the same field
// of the workspace, the later one applies.
var settingOrder = []string{
	"image", "hostRequirements", "runArgs", "containerUser", "remoteUser", "workspaceFolder", "init", "privileged", "capAdd", "securityOpt", "containerEnv", "remoteEnv",
	"mounts", "forwardPorts", "appPort", "onCreateCommand", "updateContentCommand", "postCreateCommand", "customizations", "overrideCommand",
}

// meaningless lists settings that change nothing.
var meaningless = []string{"$schema", "name"}

// take converts one setting.
func (d *devcontainer) take(name string, n *yaml.Node) {
	switch name {
	case "image":
		d.text(name, "image", n)
	case "containerUser", "remoteUser":
		d.text(name, "user", n)
	case "workspaceFolder":
		d.text(name, "working_dir", n)
	case "init":
		put(d.service, "init", n)
	case "privileged", "overrideCommand":
		if (n.Value == "true") == (name == "privileged") {
			d.leave(name, n, reasonFor(name))
		}
	case "capAdd", "securityOpt":
		d.list(name, map[string]string{"capAdd": "cap_add", "securityOpt": "security_opt"}[name], n)
	case "containerEnv", "remoteEnv":
		for _, p := range pairs(n) {
			d.variable(name+"."+p.key.Value, p.key.Value, resolve(p.value))
		}
	case "mounts":
		for _, each := range items(n) {
			d.mount(name, each)
		}
	case "forwardPorts", "appPort":
		for _, each := range items(n) {
			d.port(name, each)
		}
	case "hostRequirements":
		d.requirements(n)
	case "customizations":
		d.customizations(n)
	case "runArgs":
		d.runArgs(n)
	default:
		d.setup(name, n)
	}
}

// variablePattern matches ${…}.
var variablePattern = lazyregexp.New(`\$\{([^}]*)\}`)

// substituted returns a value with its variables in Compose's form. It reports false for a
// variable that is not one of the laptop's environment, since others have no value here.
func substituted(text string) (string, bool) {
	ok := true
	var b strings.Builder
	rest := 0
	for _, m := range variablePattern.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(strings.ReplaceAll(text[rest:m[0]], "$", "$$"))
		rest = m[1]
		kind, name, _ := strings.Cut(text[m[2]:m[3]], ":")
		name, def, hasDefault := strings.Cut(name, ":")
		ok = ok && (kind == "localEnv" || kind == "env") && environmentName.MatchString(name) && !strings.ContainsAny(def, "${}")
		if hasDefault {
			name += ":-" + def
		}
		b.WriteString("${" + name + "}")
	}
	b.WriteString(strings.ReplaceAll(text[rest:], "$", "$$"))
	return b.String(), ok
}

var environmentName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// word returns the text of n for a field of the service. It reports false if the setting was left
// out.
func (d *devcontainer) word(setting string, n *yaml.Node) (*yaml.Node, bool) {
	if n.Kind != yaml.ScalarNode {
		d.leave(setting, n, unknownForm)
		return nil, false
	}
	text, ok := substituted(n.Value)
	if !ok {
		d.leave(setting, n, unknownVariable)
		return nil, false
	}
	return word(text, n.Line), true
}

func (d *devcontainer) text(setting, name string, n *yaml.Node) {
	if w, ok := d.word(setting, n); ok {
		put(d.service, name, w)
	}
}

func (d *devcontainer) list(setting, name string, n *yaml.Node) {
	for _, each := range items(n) {
		w, ok := d.word(setting, each)
		if ok && name == "cap_add" {
			w.Value = strings.TrimPrefix(w.Value, "CAP_")
		}
		switch {
		case !ok:
		case name == "security_opt" && !strings.HasPrefix(w.Value, "no-new-privileges"):
			d.leave(setting, each, fields.Reason{Why: "possible is no-new-privileges alone"})
		default:
			d.add(name, w)
		}
	}
}

// add appends an item to a list of the service.
func (d *devcontainer) add(name string, item *yaml.Node) {
	list := field(d.service, name)
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: item.Line}
		put(d.service, name, list)
	}
	same := func(other *yaml.Node) bool { return item.Kind == yaml.ScalarNode && other.Value == item.Value }
	if !slices.ContainsFunc(list.Content, same) { // two settings may ask for one thing
		list.Content = append(list.Content, item)
	}
}

// inner returns a mapping of the service, and makes it if it does not exist.
func (d *devcontainer) inner(name string) *yaml.Node {
	m := field(d.service, name)
	if m == nil {
		m = mapping()
		put(d.service, name, m)
	}
	return m
}

func (d *devcontainer) variable(setting, name string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		d.leave(setting, n, fields.Reason{Why: "a workspace's programs see all of its variables"})
		return
	}
	if w, ok := d.word(setting, n); ok {
		put(d.inner("environment"), name, w)
	}
}

func (d *devcontainer) port(setting string, n *yaml.Node) {
	port, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.leave(setting, n, fields.Reason{Why: "only ports of the workspace itself are opened", Step: keyway.InsteadOpen})
		return
	}
	d.add("expose", word(strconv.Itoa(port), n.Line))
}

// mount converts a mount, which is text in the form of docker's --mount, or an object.
func (d *devcontainer) mount(setting string, n *yaml.Node) {
	options := map[string]string{}
	if n.Kind == yaml.ScalarNode {
		for part := range strings.SplitSeq(n.Value, ",") {
			name, v, _ := strings.Cut(part, "=")
			options[strings.TrimSpace(name)] = v
		}
	}
	for _, p := range pairs(n) {
		options[p.key.Value] = resolve(p.value).Value
	}
	m := mapping()
	m.Line = n.Line
	for _, o := range []struct{ to, names, def string }{{"type", "type", "volume"}, {"source", "source src", ""}, {"target", "target dst destination", ""}} {
		v := o.def
		for _, name := range strings.Fields(o.names) {
			if given, ok := options[name]; ok {
				v = given
			}
			delete(options, name)
		}
		text, ok := substituted(v)
		if !ok {
			d.leave(setting, n, notOfTheLaptop)
			return
		}
		if text != "" {
			put(m, o.to, word(text, n.Line))
		}
	}
	for _, name := range []string{"readonly", "ro"} {
		if v, ok := options[name]; ok && v != "false" && v != "0" {
			put(m, "read_only", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true", Line: n.Line})
		}
		delete(options, name)
	}
	delete(options, "consistency") // it changes nothing on Linux
	if source := field(m, "source"); len(options) > 0 || field(m, "target") == nil {
		d.leave(setting, n, unknownForm)
		return
	} else if source != nil && field(m, "type").Value == "volume" {
		put(d.volumes, source.Value, mapping())
	}
	d.add("volumes", m)
}

// requirements converts the request for GPUs. A host's operators know its other properties.
func (d *devcontainer) requirements(n *yaml.Node) {
	for _, p := range pairs(n) {
		switch gpu := resolve(p.value); {
		case p.key.Value != "gpu":
			d.leave("hostRequirements."+p.key.Value, p.key, fields.Reason{Why: "you choose the place, and what the workspace takes of it", Step: keyway.InsteadLimits})
		case gpu.Value == "false":
		case gpu.Kind == yaml.ScalarNode && gpu.Value != "true":
			d.leave("hostRequirements.gpu", gpu, fields.Reason{Why: "you ask for GPUs where the place has some", Step: keyway.InsteadGPUs})
		default:
			put(d.service, "gpus", word("all", gpu.Line))
			if gpu.Kind == yaml.MappingNode {
				d.leave("hostRequirements.gpu.{cores,memory}", gpu, fields.Reason{Why: "all GPUs of the place are asked for", Step: keyway.ChooseGPUs})
			}
		}
	}
}

func (d *devcontainer) customizations(n *yaml.Node) {
	for _, tool := range pairs(n) {
		for _, p := range pairs(tool.value) {
			if tool.key.Value == "vscode" && p.key.Value == "extensions" {
				x := d.inner("x-keyway")
				put(x, "extensions", resolve(p.value))
				continue
			}
			d.leave("customizations."+tool.key.Value+"."+p.key.Value, p.key, fields.Reason{Why: "it is a setting of the editor's, which it reads itself when the folder is open there"})
		}
	}
}

// setup adds a command that runs once to the setup.
func (d *devcontainer) setup(setting string, n *yaml.Node) {
	var commands []string
	switch n.Kind {
	case yaml.ScalarNode, yaml.SequenceNode:
		commands = []string{command(n)}
	case yaml.MappingNode: // its commands may run at the same time, but need not
		for _, p := range pairs(n) {
			commands = append(commands, command(resolve(p.value)))
		}
	}
	x := d.inner("x-keyway")
	script := ""
	if before := field(x, "setup"); before != nil {
		script = before.Value
	}
	for _, c := range commands {
		if strings.TrimSpace(c) == "" {
			continue
		}
		if strings.Contains(c, "${local") || strings.Contains(c, "${container") || strings.Contains(c, "${devcontainerId}") {
			d.leave(setting, n, unknownVariable)
			continue
		}
		if script == "" {
			script = "set -e\n"
		}
		script += "(" + c + "\n)\n"
	}
	if script != "" {
		put(x, "setup", word(script, n.Line))
	}
	if len(x.Content) == 0 {
		remove(d.service, "x-keyway")
	}
}

// command returns a shell command for n, which is a line of shell or a list of words. It returns
// "" if there is none.
func command(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		if n.ShortTag() == "!!null" {
			return ""
		}
		return n.Value
	}
	var words []string
	for _, each := range items(n) {
		words = append(words, "'"+strings.ReplaceAll(each.Value, "'", `'\''`)+"'")
	}
	return strings.Join(words, " ")
}

// notOfTheLaptop is the reason against a setting that takes a directory from this laptop.
var notOfTheLaptop = fields.Reason{Why: "directories are of the place, not of this laptop", Step: keyway.InsteadMount}

// reasons maps each setting that is left out to the reason.
var reasons = map[string]fields.Reason{
	"features":             {Why: "build them into the image, or install what they bring in postCreateCommand"},
	"privileged":           {Why: "name the capabilities that it needs instead: capAdd"},
	"overrideCommand":      {Why: "the image's own command is not started", Step: keyway.InsteadRun},
	"build":                {Why: "the image that is named counts; build it where it will run"},
	"dockerFile":           {Why: "the image that is named counts; build it where it will run"},
	"initializeCommand":    {Why: "it would run on this laptop"},
	"postStartCommand":     {Why: "what runs for long is a job", Step: keyway.InsteadRun},
	"postAttachCommand":    {Why: "a shell's start file in the workspace does this"},
	"workspaceMount":       notOfTheLaptop,
	"updateRemoteUserUID":  {Why: "without remoteUser the workspace has your own uid and gid of the place"},
	"portsAttributes":      {Why: "ports are opened one by one", Step: keyway.InsteadOpen},
	"otherPortsAttributes": {Why: "ports are opened one by one", Step: keyway.InsteadOpen},
	"shutdownAction":       {Why: "a workspace stays until you stop or remove it", Step: keyway.InsteadStop},
	"secrets":              {Why: "secrets are files of this laptop", Step: keyway.InsteadSecret},
	"runServices":          {Why: fields.NotOthers},
}

func reasonFor(setting string) fields.Reason {
	return cmp.Or(reasons[setting], fields.Reason{Why: "a workspace has nothing that corresponds to it"})
}
