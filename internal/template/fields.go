package template

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
)

// rule says what may stand at one position of a Compose file.
type rule struct {
	fields map[string]*rule // the permitted fields, also of mappings in a list
	names  *rule            // any field is permitted, each of this form
	not    reason           // why the field is refused; zero: it is not
	form   form             // the permitted shapes of the value
}

var value = &rule{} // any shape

// reason says why a workspace cannot have what a file requests.
type reason struct {
	why  string      // part of a sentence
	step keyway.Step // what to do instead; empty: nothing
}

// advice returns r's step as advice.
func (r reason) advice() []keyway.Advice {
	if r.step == "" {
		return nil
	}
	return keyway.AdviseTo(r.step)
}

func not(why string) *rule { return instead(why, "") }

// instead returns the rule for a refused field, with what to do instead.
func instead(why string, step keyway.Step) *rule { return &rule{not: reason{why, step}} }

func fields(f map[string]*rule) *rule { return &rule{fields: f} }

// values returns rules for fields of any shape.
func values(list ...string) map[string]*rule { return shaped(form{}, list...) }

// shaped returns rules for fields of one shape.
func shaped(f form, list ...string) map[string]*rule {
	m := map[string]*rule{}
	for _, name := range list {
		m[name] = &rule{form: f}
	}
	return m
}

// all joins several groups of rules.
func all(groups ...map[string]*rule) map[string]*rule {
	m := map[string]*rule{}
	for _, g := range groups {
		maps.Copy(m, g)
	}
	return m
}

// in returns r with another shape.
func (r *rule) in(f form) *rule {
	r.form = f
	return r
}

// with returns the rules of base and more.
func with(base, more map[string]*rule) map[string]*rule {
	for name, r := range more {
		base[name] = r
	}
	return base
}

const (
	notNetworks = "a workspace publishes nothing and joins no network of its own; its ports are reached through ssh"
	notOthers   = "a template is one workspace, without others beside it"
	notService  = "a workspace is entered, not served: it starts and stops when you say so"
	notTuned    = "keyway sets no such limit"
)

// fileRule describes the Compose files that keyway accepts.
var fileRule = fields(map[string]*rule{
	"name": value, "version": value,
	"services": {names: serviceRule, form: mappings},
	"volumes": {form: mappings, names: fields(map[string]*rule{
		"name":     {form: text},
		"external": not("a volume is your own, made when it is first used; name a directory of the place instead: /data:TARGET"),
		"driver":   not("volumes are of the engine's own driver"), "driver_opts": not("volumes are of the engine's own driver"), "labels": not("volumes have no labels of yours"),
	}).in(orNothing)},
	"secrets": {form: mappings, names: fields(map[string]*rule{
		"file": {form: text}, "environment": {form: text}, "name": {form: text},
		"external": not("secrets are files or variables of this laptop"),
	})},
	"networks": not(notNetworks),
	"configs":  not("mount a file instead: volumes"),
	"include":  not("a template is one file; write the service into it"),
	"models":   not(notOthers),
	"jobs":     instead("a job is started in the workspace", keyway.InsteadRun),
})

// deviceRule describes an item of gpus, and of deploy.resources.reservations.devices.
var deviceRule = fields(with(all(shaped(texts, "capabilities", "device_ids"), shaped(whole, "count"), shaped(text, "driver")), map[string]*rule{
	"options": not("drivers take no options here"),
}))

// serviceRule describes a service: the fields that keyway honours, and the reasons against the
// other fields of Compose.
var serviceRule = fields(with(with(all(
	shaped(text, "image", "user", "working_dir"), shaped(number, "cpus"), shaped(whole, "shm_size", "mem_limit", "pids_limit"),
	shaped(truth, "read_only", "stdin_open", "tty", "init"), shaped(texts, "cap_add", "security_opt"), shaped(textOrTexts, "tmpfs"),
	shaped(words, "command", "entrypoint"), shaped(pairsOrTexts, "environment", "labels"), shaped(form{one: "[", each: "sin"}, "expose")),
	map[string]*rule{
		"ulimits":        {form: mappings, names: fields(shaped(whole, "soft", "hard")).in(form{one: "is{"})},
		"env_file":       fields(all(shaped(text, "path", "format"), shaped(truth, "required"))).in(form{one: "s[", each: "s{"}),
		"devices":        fields(shaped(text, "source", "target", "permissions")).in(form{one: "[", each: "s{"}),
		"gpus":           fields(deviceRule.fields).in(form{one: "s[", each: "{"}),
		"x-keyway":       extensionRule,
		"ports":          fields(all(shaped(whole, "target", "published"), shaped(text, "protocol", "host_ip", "mode", "name", "app_protocol"))).in(form{one: "[", each: "sin{"}),
		"secrets":        fields(with(shaped(text, "source", "target"), map[string]*rule{"uid": not(notOwner), "gid": not(notOwner), "mode": not(notOwner)})).in(form{one: "[", each: "s{"}),
		"extends":        fields(map[string]*rule{"service": {form: text}, "file": not("a template is one file; write the service into it")}).in(form{one: "s{"}),
		"deploy":         deployRule,
		"volumes":        volumeRule.in(form{one: "[", each: "s{"}),
		"build":          not("an image is built where it will run, or pulled: docker build -t NAME . at the place, then image: NAME"),
		"container_name": instead("the workspace is named when it is made", keyway.InsteadName),
	}), refusals))

const notOwner = "a secret belongs to the workspace's user, who alone can read it"

var deployRule = fields(map[string]*rule{
	"resources": fields(map[string]*rule{
		"limits": fields(with(all(shaped(number, "cpus"), shaped(whole, "pids"), shaped(text, "memory")), map[string]*rule{"devices": not("devices are reserved, not limited: write reservations")})).in(mappings),
		"reservations": fields(map[string]*rule{
			"devices": fields(deviceRule.fields).in(form{one: "[", each: "{"}),
			"cpus":    not("a place reserves no processors; limits.cpus bounds them"), "memory": not("a place reserves no memory; limits.memory bounds it"),
			"generic_resources": not("ask for GPUs by gpus"),
		}).in(mappings),
	}).in(mappings),
	"replicas": not(notOthers), "mode": not(notOthers), "endpoint_mode": not(notNetworks), "labels": not("write them as labels of the service"),
	"restart_policy": not(notService), "placement": instead("the place is chosen when the workspace is made", keyway.InsteadPlace),
	"rollback_config": not(notOthers), "update_config": not(notOthers),
}).in(orNothing)

var volumeRule = fields(map[string]*rule{
	"type": {form: text}, "source": {form: text}, "target": {form: text}, "read_only": {form: truth},
	"bind": fields(map[string]*rule{
		"create_host_path": {form: truth}, "propagation": not(notMounted), "selinux": not(notMounted), "recursive": not(notMounted),
	}).in(mappings),
	"volume":      fields(map[string]*rule{"nocopy": not(notMounted), "subpath": not(notMounted), "labels": not(notMounted)}).in(mappings),
	"tmpfs":       fields(map[string]*rule{"size": {form: whole}, "mode": not("anybody in the workspace may write to a tmpfs, as to /tmp")}).in(mappings),
	"consistency": not(notMounted), "image": not(notMounted),
})

const notMounted = "keyway mounts directories, volumes and tmpfs without such options"

// refusals maps the fields of Compose that a workspace cannot have to the reasons.
var refusals = func() map[string]*rule {
	m := map[string]*rule{}
	for reason, names := range map[reason]string{
		{why: notNetworks}: "networks net dns dns_opt dns_search domainname extra_hosts hostname mac_address links external_links",
		{why: notOthers}:   "depends_on scale provider profiles volumes_from models",
		{why: notService}:  "restart healthcheck stop_signal stop_grace_period attach develop post_start pre_start pre_stop pull_policy pull_refresh_after",
		{why: notTuned}: "cgroup cgroup_parent cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset mem_reservation " +
			"memswap_limit mem_swappiness oom_kill_disable oom_score_adj sysctls storage_opt blkio_config umask isolation",
		{why: "name the capabilities that it needs instead: cap_add"}: "privileged",
		notNow: "network_mode",
		{"give shm_size for more shared memory, or choose it when the workspace is made", keyway.InsteadIPC}: "ipc",
		{why: "the workspace has its own"}:                                                   "pid uts userns_mode use_api_socket",
		{why: "ask for GPUs by gpus, and the engine finds the runtime"}:                      "runtime",
		{why: "take an image of the place's own architecture"}:                               "platform",
		{why: "mount a file instead: volumes"}:                                               "configs credential_spec",
		{why: "write them as labels"}:                                                        "label_file annotations",
		{"what a job prints is in its log", keyway.InsteadLogs}:                              "logging log_driver log_opt",
		{why: "run as a user who has the group: user: \"UID:GID\""}:                          "group_add",
		{why: "capabilities are only added; those that no workspace needs are gone already"}: "cap_drop",
		{why: "volumes are of the engine's own driver"}:                                      "volume_driver dockerfile",
		{why: "name devices by devices"}:                                                     "device_cgroup_rules",
	} {
		for _, name := range strings.Fields(names) {
			m[name] = &rule{not: reason}
		}
	}
	return m
}()

// maxProblems bounds the problems of one template that are reported at once.
const maxProblems = 10

// walker collects what is wrong with a file's fields.
type walker struct {
	*document
	problems []*keyway.Error
}

func (w *walker) add(e *keyway.Error) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, e)
	}
}

// walk compares n with r. where is the path to n in messages.
func (w *walker) walk(n *yaml.Node, r *rule, where string) {
	n = resolve(n)
	if r == nil || r.fields == nil && r.names == nil {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for _, each := range n.Content {
			w.walk(each, r, where)
		}
		return
	}
	seen := map[string]bool{}
	for _, p := range ownPairs(n) {
		name := p.key.Value
		if p.key.Kind != yaml.ScalarNode {
			w.add(w.errorf(p.key, "the name of a field is a word, not a list or a mapping"))
			continue
		}
		if seen[name] {
			w.add(w.errorf(p.key, "%s%s is there twice", where, name).Hint("remove one of the two"))
		}
		seen[name] = true
	}
	for _, p := range pairs(n) {
		w.field(p, r, where)
	}
}

// ownPairs returns the fields of a mapping without those that << merges in.
func ownPairs(n *yaml.Node) (own []pair) {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			own = append(own, pair{n.Content[i], n.Content[i+1]})
		}
	}
	return own
}

func (w *walker) field(p pair, r *rule, where string) {
	name := p.key.Value
	if r.names != nil {
		w.shape(p, r.names.form, where+name)
		w.walk(p.value, r.names, where+name+".")
		return
	}
	known := r.fields[name]
	switch {
	case known == nil && strings.HasPrefix(name, "x-"):
	case known == nil:
		e := w.errorf(p.key, "there is no field %.80q", strings.TrimPrefix(where, "services.")+name)
		if near := nearest(name, r.fields); near != "" {
			e = e.Hint("did you mean: %s", near)
		}
		w.add(e)
	case known.not.why != "":
		e := w.errorf(p.key, "the field %s is not for workspaces: %s", name, known.not.why).Hint("leave %s out, or keep a keyway.yaml beside the file that has it", name)
		e.Advice = known.not.advice()
		w.add(e)
	default:
		w.shape(p, known.form, where+name)
		w.walk(p.value, known, where+name+".")
	}
}

// nearest returns the field that name was probably meant to be, or "". It never returns a field
// that would be refused.
func nearest(name string, among map[string]*rule) string {
	var best string
	far := len(name)/3 + 1
	for _, candidate := range slices.Sorted(maps.Keys(among)) {
		if d := keyway.Distance(name[:min(len(name), 64)], candidate); among[candidate].not.why == "" && d <= far {
			if best == "" || d < far {
				best, far = candidate, d
			}
		}
	}
	return best
}
