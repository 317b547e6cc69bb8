// Package devcontainer reads a devcontainer.json as a Compose file with one service.
package devcontainer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
	"keyway/internal/template/document"
	"keyway/internal/template/fields"
	"keyway/internal/template/variables"
)

// Name is the name of the template of a devcontainer.json.
const Name = "devcontainer"

// Files lists where a devcontainer.json may be, relative to the directory that it
// describes.
var Files = []string{".devcontainer/devcontainer.json", ".devcontainer.json"}

// Left is a setting of a devcontainer.json that was left out.
type Left struct {
	Setting string `json:"setting"`
	Line    int    `json:"line"`
	Why     string `json:"why"`
	// Advice names a substitute for the setting.
	Advice []keyway.Advice `json:"advice,omitempty"`
}

// Read reads a devcontainer.json as a Compose file with one service, and lists the
// settings that a workspace cannot have.
func Read(file string) (*document.Document, []Left, error) {
	data, err := keyway.ReadPlainFile(file, document.MaxFile+1)
	if err != nil {
		return nil, nil, keyway.Errorf(keyway.BadConfig, "%s cannot be read: %w", file, err)
	}
	return Parse(file, data)
}

// Parse parses data. file is its name in messages.
func Parse(file string, data []byte) (*document.Document, []Left, error) {
	doc, err := document.Parse(file, withoutComments(data)) // YAML contains JSON
	if err != nil {
		return nil, nil, err
	}
	d := &conversion{service: document.Mapping(), set: map[string]string{}}
	if err := d.refuse(doc); err != nil {
		return nil, nil, err
	}
	d.know(file, document.Field(doc.Root, "workspaceFolder"))
	for _, name := range settingOrder {
		if n := document.Field(doc.Root, name); n != nil && !empty(n) {
			d.take(name, n)
		}
	}
	for _, p := range document.OwnPairs(doc.Root) {
		if p.Key.Value == "features" && document.Shape(p.Value) == "{" {
			for _, feature := range document.Pairs(p.Value) {
				d.leave("features."+feature.Key.Value, feature.Key, reasonFor("features"))
			}
			continue
		}
		if !slices.Contains(settingOrder, p.Key.Value) && !slices.Contains(meaningless, p.Key.Value) && !empty(p.Value) {
			d.leave(p.Key.Value, p.Key, reasonFor(p.Key.Value))
		}
	}
	services := document.Mapping()
	document.Put(services, Name, d.service)
	root := document.Mapping()
	document.Put(root, "services", services)
	slices.SortStableFunc(d.left, func(a, b Left) int { return a.Line - b.Line })
	made := &document.Document{File: file, Root: root, Undeclared: true}
	if len(d.commands) > 0 {
		made.Setup = func(lookup func(string) (string, bool)) (string, error) { return d.script(doc, lookup) }
	}
	return made, d.left, nil
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

// conversion converts one devcontainer.json.
type conversion struct {
	service  *yaml.Node
	left     []Left
	commands []*yaml.Node      // of the setup, in order
	known    map[string]string // the values of variables that are not of an environment, in Compose's form
	set      map[string]string // the workspace's variables that the file gives a value, in Compose's form
	made     int               // bytes of the values that were filled in
}

// know sets the values of variables for directories: of the laptop's only the name, and of the
// workspace's if the file sets it.
func (d *conversion) know(file string, folder *yaml.Node) {
	dir := filepath.Dir(file)
	if filepath.Base(dir) == ".devcontainer" {
		dir = filepath.Dir(dir)
	}
	d.known = map[string]string{"localWorkspaceFolderBasename": strings.ReplaceAll(filepath.Base(dir), "$", "$$")}
	if folder == nil || folder.Kind != yaml.ScalarNode || namedByLaptop(folder.Value) {
		return
	}
	inside, ok := d.substituted(folder.Value)
	if !ok {
		return
	}
	d.known["containerWorkspaceFolder"] = inside
	// The value of a variable may have a slash, so that it is no last part.
	whole := variablePattern.ReplaceAllFunc([]byte(folder.Value), func(v []byte) []byte { return bytes.Repeat([]byte{0}, len(v)) })
	if base := path.Base(string(whole)); !strings.Contains(base, "\x00") {
		d.known["containerWorkspaceFolderBasename"] = strings.ReplaceAll(base, "$", "$$")
	}
}

// namedByLaptop reports whether a directory of the workspace has its name from this laptop's, which
// others would mount there: nothing makes it.
func namedByLaptop(folder string) bool { return strings.Contains(folder, "${localWorkspaceFolder") }

// refuse refuses a file that does not itself say what to run.
func (d *conversion) refuse(doc *document.Document) error {
	if n := document.Field(doc.Root, "dockerComposeFile"); n != nil {
		return doc.Errorf(n, "it is about a service of a Compose file").Advise(keyway.InsteadService)
	}
	if document.Field(doc.Root, "image") != nil {
		return nil
	}
	for _, name := range []string{"build", "dockerFile"} {
		if n := document.Field(doc.Root, name); n != nil {
			return doc.Errorf(n, "%s: an image is built where it will run, or pulled", name).
				Hint("docker build -t NAME . at the place, then name it here: \"image\": \"NAME\"")
		}
	}
	return doc.Errorf(doc.Root, "it names no image").Hint("for example: \"image\": \"pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel\"")
}

func (d *conversion) leave(setting string, n *yaml.Node, r fields.Reason) {
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
	"updateRemoteUserUID", "shutdownAction",
}

// settingForms maps settings to the shapes that they have. Of others each value has its own check.
var settingForms = map[string]string{
	"privileged": "b", "overrideCommand": "b", "updateRemoteUserUID": "b", "containerEnv": "{", "remoteEnv": "{", "hostRequirements": "{", "customizations": "{",
	"onCreateCommand": "s[{", "updateContentCommand": "s[{", "postCreateCommand": "s[{", "runArgs": "[",
}

// empty reports whether a setting has no value.
func empty(n *yaml.Node) bool {
	n = document.Resolve(n)
	return n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == "") || n.Kind != yaml.ScalarNode && len(n.Content) == 0
}

// meaningless lists settings that change nothing.
var meaningless = []string{"$schema", "name"}

// take converts one setting.
func (d *conversion) take(name string, n *yaml.Node) {
	if shapes, ok := settingForms[name]; ok && !strings.Contains(shapes, document.Shape(n)) {
		d.leave(name, n, unknownForm)
		return
	}
	switch name {
	case "image":
		d.text(name, "image", n)
	case "containerUser", "remoteUser":
		d.text(name, "user", n)
	case "workspaceFolder":
		if namedByLaptop(n.Value) {
			d.leave(name, n, notOfTheLaptop)
			return
		}
		d.text(name, "working_dir", n)
	case "init":
		document.Put(d.service, "init", n)
	case "privileged", "overrideCommand", "updateRemoteUserUID":
		if (n.Value == "true") == (name == "privileged") {
			d.leave(name, n, reasonFor(name))
		}
	case "shutdownAction":
		if n.Value != "none" {
			d.leave(name, n, reasonFor(name))
		}
	case "capAdd", "securityOpt":
		d.list(name, map[string]string{"capAdd": "cap_add", "securityOpt": "security_opt"}[name], n)
	case "containerEnv", "remoteEnv":
		for _, p := range document.Pairs(n) {
			d.variable(name+"."+p.Key.Value, p.Key.Value, document.Resolve(p.Value))
		}
	case "mounts":
		for _, each := range document.Items(n) {
			d.mount(name, each)
		}
	case "forwardPorts", "appPort":
		for _, each := range document.Items(n) {
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
// variable that has no value here.
func (d *conversion) substituted(text string) (string, bool) {
	ok := true
	var b strings.Builder
	rest := 0
	for _, m := range variablePattern.FindAllStringSubmatchIndex(text, -1) {
		b.WriteString(strings.ReplaceAll(text[rest:m[0]], "$", "$$"))
		rest = m[1]
		value, known := d.value(text[m[2]:m[3]])
		b.WriteString(value)
		ok = ok && known
	}
	b.WriteString(strings.ReplaceAll(text[rest:], "$", "$$"))
	return b.String(), ok
}

// value returns the value of a variable, in Compose's form. All values together have as many bytes
// as a file at most: each variable of the workspace may contain others several times.
func (d *conversion) value(text string) (string, bool) {
	value, ok := d.known[text]
	v := parseVariable(text)
	switch {
	case ok || !v.valid():
	case v.kind == "localEnv" || v.kind == "env":
		value, ok = "${"+v.name+"}", true
		if v.hasDefault {
			value = "${" + v.name + ":-" + v.def + "}"
		}
	case v.kind == "containerEnv": // only those that the file sets: the image may have others
		value, ok = d.set[v.name]
	}
	if d.made += len(value); d.made > document.MaxFile {
		return "", false
	}
	return value, ok
}

// variable is what stands in ${…}.
type variable struct {
	kind, name, def string
	hasDefault      bool
}

// parseVariable parses KIND:NAME and KIND:NAME:DEFAULT.
func parseVariable(text string) (v variable) {
	v.kind, v.name, _ = strings.Cut(text, ":")
	v.name, v.def, v.hasDefault = strings.Cut(v.name, ":")
	return v
}

// valid reports whether v may be a variable of an environment.
func (v variable) valid() bool {
	return environmentName.MatchString(v.name) && !strings.ContainsAny(v.def, "${}")
}

var environmentName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

// word returns the text of n for a field of the service. It reports false if the setting was left
// out.
func (d *conversion) word(setting string, n *yaml.Node) (*yaml.Node, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.leave(setting, n, unknownForm)
		return nil, false
	}
	text, ok := d.substituted(n.Value)
	if !ok {
		d.leave(setting, n, unknownVariable)
		return nil, false
	}
	return document.Word(text, n.Line), true
}

func (d *conversion) text(setting, name string, n *yaml.Node) {
	if w, ok := d.word(setting, n); ok {
		document.Put(d.service, name, w)
	}
}

func (d *conversion) list(setting, name string, n *yaml.Node) {
	for _, each := range document.Items(n) {
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
func (d *conversion) add(name string, item *yaml.Node) {
	list := document.Field(d.service, name)
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: item.Line}
		document.Put(d.service, name, list)
	}
	same := func(other *yaml.Node) bool { return item.Kind == yaml.ScalarNode && other.Value == item.Value }
	if !slices.ContainsFunc(list.Content, same) { // two settings may ask for one thing
		list.Content = append(list.Content, item)
	}
}

// inner returns a mapping of the service, and makes it if it does not exist.
func (d *conversion) inner(name string) *yaml.Node {
	m := document.Field(d.service, name)
	if m == nil {
		m = document.Mapping()
		document.Put(d.service, name, m)
	}
	return m
}

func (d *conversion) variable(setting, name string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		d.leave(setting, n, fields.Reason{Why: "a workspace's programs see all of its variables"})
		return
	}
	if w, ok := d.word(setting, n); ok {
		document.Put(d.inner("environment"), name, w)
		d.set[name] = w.Value
	}
}

func (d *conversion) port(setting string, n *yaml.Node) {
	text := n.Value
	if setting == "appPort" { // HOST:CONTAINER, of which the first is published by others
		text = text[strings.LastIndexByte(text, ':')+1:]
	}
	port, err := strconv.Atoi(text)
	if n.Kind != yaml.ScalarNode || err != nil {
		d.leave(setting, n, fields.Reason{Why: "only ports of the workspace itself are opened", Step: keyway.InsteadOpen})
		return
	}
	d.add("expose", document.Word(strconv.Itoa(port), n.Line))
}

// mount converts a mount, which is text in the form of docker's --mount, or an object.
func (d *conversion) mount(setting string, n *yaml.Node) {
	options := map[string]string{}
	if n.Kind == yaml.ScalarNode {
		for part := range strings.SplitSeq(n.Value, ",") {
			name, v, _ := strings.Cut(part, "=")
			options[strings.TrimSpace(name)] = v
		}
	}
	for _, p := range document.Pairs(n) {
		options[p.Key.Value] = document.Resolve(p.Value).Value
	}
	m := document.Mapping()
	m.Line = n.Line
	for _, o := range []struct{ to, names, def string }{{"type", "type", "volume"}, {"source", "source src", ""}, {"target", "target dst destination", ""}, {"size", "tmpfs-size", ""}} {
		v := o.def
		for _, name := range strings.Fields(o.names) {
			if given, ok := options[name]; ok {
				v = given
			}
			delete(options, name)
		}
		text, ok := d.substituted(v)
		if !ok || o.to == "source" && strings.HasPrefix(text, ".") && document.Field(m, "type").Value == "bind" {
			why := unknownVariable
			if ok || strings.Contains(v, "${localWorkspaceFolder}") {
				why = notOfTheLaptop
			}
			d.leave(setting, n, why)
			return
		}
		switch {
		case text == "":
		case o.to == "size":
			tmpfs := document.Mapping()
			document.Put(tmpfs, "size", document.Word(text, n.Line))
			document.Put(m, "tmpfs", tmpfs)
		default:
			document.Put(m, o.to, document.Word(text, n.Line))
		}
	}
	for _, name := range []string{"readonly", "ro"} {
		v, ok := options[name]
		if truth, err := strconv.ParseBool(cmp.Or(v, "true")); ok && err == nil {
			if truth {
				document.Put(m, "read_only", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true", Line: n.Line})
			}
			delete(options, name)
		}
	}
	maps.DeleteFunc(options, func(name, v string) bool {
		return sameMount[name] == "*" || slices.Contains(strings.Fields(sameMount[name]), v)
	})
	if len(options) > 0 || document.Field(m, "target") == nil {
		d.leave(setting, n, unknownForm)
		return
	}
	d.add("volumes", m)
}

// sameMount maps options of a mount to the values that change nothing; * stands for any.
var sameMount = map[string]string{
	"consistency": "*", "bind-propagation": "rprivate", "bind-nonrecursive": "false", "volume-driver": "local", "volume-nocopy": "false", "tmpfs-mode": "1777 01777", "external": "false",
}

// requirements converts the request for GPUs. A host's operators know its other properties.
func (d *conversion) requirements(n *yaml.Node) {
	for _, p := range document.Pairs(n) {
		switch gpu := document.Resolve(p.Value); {
		case p.Key.Value != "gpu":
			d.leave("hostRequirements."+p.Key.Value, p.Key, fields.Reason{Why: "you choose the place, and what the workspace takes of it", Step: keyway.InsteadLimits})
		case gpu.Value == "false" || empty(gpu) && gpu.Kind != yaml.MappingNode:
		case gpu.Value == "optional":
			d.leave("hostRequirements.gpu", gpu, fields.Reason{Why: "you ask for GPUs where the place has some", Step: keyway.InsteadGPUs})
		case gpu.Value != "true" && gpu.Kind != yaml.MappingNode:
			d.leave("hostRequirements.gpu", gpu, unknownForm)
		default:
			document.Put(d.service, "gpus", document.Word("all", gpu.Line))
			if len(gpu.Content) > 0 {
				d.leave("hostRequirements.gpu.{cores,memory}", gpu, fields.Reason{Why: "all GPUs of the place are asked for", Step: keyway.ChooseGPUs})
			}
		}
	}
}

func (d *conversion) customizations(n *yaml.Node) {
	for _, tool := range document.Pairs(n) {
		if document.Shape(tool.Value) != "{" && !empty(tool.Value) {
			d.leave("customizations."+tool.Key.Value, tool.Key, unknownForm)
		}
		for _, p := range document.Pairs(tool.Value) {
			if tool.Key.Value == "vscode" && p.Key.Value == "extensions" {
				x := d.inner("x-keyway")
				document.Put(x, "extensions", document.Resolve(p.Value))
				continue
			}
			d.leave("customizations."+tool.Key.Value+"."+p.Key.Value, p.Key, fields.Reason{Why: "it is a setting of the editor's, which it reads itself when the folder is open there"})
		}
	}
}

// setup adds the commands of a setting to the setup. It leaves out those that have no value here.
func (d *conversion) setup(setting string, n *yaml.Node) {
	commands := []*yaml.Node{n}
	if n.Kind == yaml.MappingNode { // its commands may run at the same time, but need not
		commands = nil
		for _, p := range document.Pairs(n) {
			commands = append(commands, document.Resolve(p.Value))
		}
	}
	for _, each := range commands {
		line, why := d.command(each, func(variable) string { return "value" })
		switch {
		case why != fields.Reason{}:
			d.leave(setting, n, why)
		case strings.TrimSpace(line) != "":
			d.commands = append(d.commands, each)
		}
	}
}

// script returns the setup, with the values of the laptop's variables. A default also replaces an empty
// value, as in the other settings.
func (d *conversion) script(doc *document.Document, lookup func(string) (string, bool)) (string, error) {
	d.made = 0
	var problem error
	script, filled := "set -e\n", 0
	for _, n := range d.commands {
		line, _ := d.command(n, func(v variable) string {
			value, ok := lookup(v.name)
			if value == "" && v.hasDefault {
				value, ok = v.def, true
			}
			filled += len(value)
			switch {
			case problem != nil:
			case !ok:
				problem = doc.Errorf(n, "%v", variables.UnsetError{Name: v.name}).
					Hint("set it: export %[1]s=VALUE\nor give it a default in the file: ${localEnv:%[1]s:VALUE}", v.name)
			case filled > document.MaxSetup:
				problem = doc.Errorf(n, "the commands are longer than %d KiB with their variables filled in", document.MaxSetup>>10).Hint("use a long value less often")
			}
			if problem != nil {
				return ""
			}
			return value
		})
		if strings.TrimSpace(line) != "" {
			script += "(" + line + "\n)\n"
		}
	}
	return script, problem
}

// command returns a shell command for n, which is a line of shell or a list of words, or why there
// is none. Variables of the devcontainer's kind that have a value are filled in, those of the laptop
// by lookup; others are the shell's.
func (d *conversion) command(n *yaml.Node, lookup func(variable) string) (line string, why fields.Reason) {
	shape := document.Shape(n)
	if !strings.Contains("s[0", shape) || slices.ContainsFunc(n.Content, func(item *yaml.Node) bool { return !strings.Contains("sinb", document.Shape(item)) }) {
		return "", unknownForm
	}
	fill := func(text string) string {
		return string(variablePattern.ReplaceAllFunc([]byte(text), func(found []byte) []byte {
			name := string(found[2 : len(found)-1])
			v := parseVariable(name)
			if v.kind == "localEnv" && v.valid() {
				return []byte(lookup(v))
			}
			if value, ok := d.value(name); ok && value == d.known[name] && !strings.Contains(value, "$") { // not of an environment
				return []byte(value)
			}
			if slices.Contains(ownVariables, v.kind) {
				why = unknownVariable
			}
			return found
		}))
	}
	switch shape {
	case "0":
	case "s":
		line = fill(n.Value)
	default:
		var words []string
		for _, each := range document.Items(n) {
			words = append(words, "'"+strings.ReplaceAll(fill(each.Value), "'", `'\''`)+"'")
		}
		line = strings.Join(words, " ")
	}
	return line, why
}

// ownVariables lists the kinds of variables that a devcontainer.json has. A shell has no such names.
var ownVariables = []string{"localEnv", "containerEnv", "localWorkspaceFolder", "localWorkspaceFolderBasename", "containerWorkspaceFolder", "containerWorkspaceFolderBasename", "devcontainerId"}

// notOfTheLaptop is the reason against a setting that takes a directory from this laptop.
var notOfTheLaptop = fields.Reason{Why: "directories are of the place, not of this laptop", Step: keyway.InsteadMount}

// reasons maps each setting that is left out to the reason.
var reasons = map[string]fields.Reason{
	"features":             {Why: "it is built into an image: devcontainer build --workspace-folder . --image-name NAME; or install what it brings in postCreateCommand"},
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
