package template

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"keyway/internal/keyway"
)

// rule says what may stand at one place of a Compose file.
type rule struct {
	fields map[string]*rule // these fields; nil: its form is compose-go's to judge
	names  *rule            // any field, each of this form
	not    string           // the sentence that refuses it
}

var value = &rule{}

func not(why string) *rule { return &rule{not: why} }

func fields(f map[string]*rule) *rule { return &rule{fields: f} }

// values are fields whose form compose-go judges.
func values(list ...string) map[string]*rule {
	m := map[string]*rule{}
	for _, name := range list {
		m[name] = value
	}
	return m
}

// with is base with more fields.
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

// fileRule is a Compose file as keyway takes it.
var fileRule = fields(map[string]*rule{
	"name": value, "version": value,
	"services": {names: serviceRule},
	"volumes": {names: fields(map[string]*rule{
		"name": value, "external": value,
		"driver": not("volumes are of the engine's own driver"), "driver_opts": not("volumes are of the engine's own driver"), "labels": not("volumes have no labels of yours"),
	})},
	"secrets": {names: fields(map[string]*rule{
		"file": value, "environment": value, "name": value,
		"external": not("secrets are files or variables of this laptop"),
	})},
	"networks": not(notNetworks),
	"configs":  not("mount a file instead: volumes"),
	"include":  not("a template is one file; write the service into it"),
	"models":   not(notOthers),
	"jobs":     not("a job is started in the workspace: keyway run"),
})

// deviceRule is an item of gpus, and of deploy.resources.reservations.devices.
var deviceRule = fields(with(values("capabilities", "count", "device_ids", "driver"), map[string]*rule{
	"options": not("drivers take no options here"),
}))

// serviceRule is a service: what keyway honours, and why not the rest of what
// Compose knows.
var serviceRule = fields(with(with(values("image", "shm_size", "ulimits", "tmpfs", "environment", "env_file", "user", "working_dir",
	"command", "entrypoint", "cpus", "mem_limit", "pids_limit", "labels", "read_only", "cap_add", "security_opt", "stdin_open", "tty", "init", "devices", "expose"),
	map[string]*rule{
		"gpus":           deviceRule,
		"x-keyway":       extensionRule,
		"ports":          fields(values("target", "published", "protocol", "host_ip", "mode", "name", "app_protocol")),
		"secrets":        fields(with(values("source", "target"), map[string]*rule{"uid": not(notOwner), "gid": not(notOwner), "mode": not(notOwner)})),
		"extends":        fields(map[string]*rule{"service": value, "file": not("a template is one file; write the service into it")}),
		"deploy":         deployRule,
		"volumes":        volumeRule,
		"build":          not("an image is built where it will run, or pulled: docker build -t NAME . at the place, then image: NAME"),
		"container_name": not("the workspace's name is said when it is made: keyway up --name NAME"),
	}), refusals))

const notOwner = "a secret belongs to the workspace's user, who alone can read it"

var deployRule = fields(map[string]*rule{
	"resources": fields(map[string]*rule{
		"limits": fields(map[string]*rule{"cpus": value, "memory": value, "pids": value, "devices": not("devices are reserved, not limited: write reservations")}),
		"reservations": fields(map[string]*rule{
			"devices": deviceRule,
			"cpus":    not("a place reserves no processors; limits.cpus bounds them"), "memory": not("a place reserves no memory; limits.memory bounds it"),
			"generic_resources": not("ask for GPUs by gpus"),
		}),
	}),
	"replicas": not(notOthers), "mode": not(notOthers), "endpoint_mode": not(notNetworks), "labels": not("write them as labels of the service"),
	"restart_policy": not(notService), "placement": not("the place is said when the workspace is made: keyway up --on PLACE"),
	"rollback_config": not(notOthers), "update_config": not(notOthers),
})

var volumeRule = fields(map[string]*rule{
	"type": value, "source": value, "target": value, "read_only": value,
	"bind": fields(map[string]*rule{
		"create_host_path": value, "propagation": not(notMounted), "selinux": not(notMounted), "recursive": not(notMounted),
	}),
	"volume":      fields(map[string]*rule{"nocopy": not(notMounted), "subpath": not(notMounted), "labels": not(notMounted)}),
	"tmpfs":       fields(map[string]*rule{"size": value, "mode": not("anybody in the workspace may write to a tmpfs, as to /tmp")}),
	"consistency": not(notMounted), "image": not(notMounted),
})

const notMounted = "keyway mounts directories, volumes and tmpfs without such options"

// refusals are the fields of Compose that a workspace does not have, and why.
var refusals = func() map[string]*rule {
	m := map[string]*rule{}
	for why, names := range map[string]string{
		notNetworks: "networks network_mode net dns dns_opt dns_search domainname extra_hosts hostname mac_address links external_links",
		notOthers:   "depends_on scale provider profiles volumes_from models",
		notService:  "restart healthcheck stop_signal stop_grace_period attach develop post_start pre_start pre_stop pull_policy pull_refresh_after",
		notTuned: "cgroup cgroup_parent cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset mem_reservation " +
			"memswap_limit mem_swappiness oom_kill_disable oom_score_adj sysctls storage_opt blkio_config umask isolation",
		"name the capabilities that it needs instead: cap_add":                        "privileged",
		"the workspace has its own; give shm_size for more shared memory":             "ipc",
		"the workspace has its own":                                                   "pid uts userns_mode use_api_socket",
		"ask for GPUs by gpus, and the engine finds the runtime":                      "runtime",
		"take an image of the place's own architecture":                               "platform",
		"mount a file instead: volumes":                                               "configs credential_spec",
		"write them as labels":                                                        "label_file annotations",
		"the workspace's output is kept by its sessions: keyway logs":                 "logging log_driver log_opt",
		"run as a user who has the group: user: \"UID:GID\"":                          "group_add",
		"capabilities are only added; those that no workspace needs are gone already": "cap_drop",
		"volumes are of the engine's own driver":                                      "volume_driver dockerfile",
		"name devices by devices":                                                     "device_cgroup_rules",
	} {
		for _, name := range strings.Fields(names) {
			m[name] = not(why)
		}
	}
	return m
}()

// maxProblems is how many problems of one template are told at once.
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

// walk compares n with r. where is the path to n, for people.
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

// ownPairs are the fields of a mapping that are written in it.
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
	case known.not != "":
		w.add(w.errorf(p.key, "the field %s is not for workspaces: %s", name, known.not).Hint("leave %s out, or keep a keyway.yaml beside the file that has it", name))
	default:
		w.walk(p.value, known, where+name+".")
	}
}

// nearest is the field that name was most likely meant to be, or none. A field that
// would be refused is not offered.
func nearest(name string, among map[string]*rule) string {
	var best string
	far := len(name)/3 + 1
	for _, candidate := range slices.Sorted(maps.Keys(among)) {
		if d := keyway.Distance(name[:min(len(name), 64)], candidate); among[candidate].not == "" && d <= far {
			if best == "" || d < far {
				best, far = candidate, d
			}
		}
	}
	return best
}
