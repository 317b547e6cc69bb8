package fields

import (
	"strings"

	"keyway/internal/keyway"
)

const (
	NotNetworks = "a workspace publishes nothing and joins no network of its own; its ports are reached through ssh"
	NotOthers   = "a template is one workspace, without others beside it"
	notService  = "a workspace is entered, not served: it starts and stops when you say so"
	notTuned    = "keyway sets no such limit"
	notOwner    = "a secret belongs to the workspace's user, who alone can read it"
	NotMounted  = "keyway mounts directories, volumes and tmpfs without such options"
	ownDriver   = "volumes are of the engine's own driver"
	oneFile     = "a template is one file; write the service into it"
)

// MountOptions lists the options of SOURCE:TARGET:OPTIONS that a mount may have. All but ro change
// nothing.
var MountOptions = []string{"ro", "rw", "rprivate", "consistent", "cached", "delegated", ""}

// TmpfsOptions lists the options of a tmpfs, besides ro and size, that every tmpfs has.
var TmpfsOptions = []string{"rw", "exec", "nosuid", "nodev", "mode=1777", "mode=01777", ""}

// NotNow is the reason against a file's network: the place's operators and the user decide about
// it.
var NotNow = Reason{"its network is chosen when the workspace is made", keyway.InsteadNetwork}

// File describes the Compose files that keyway accepts. Below volumes and secrets it is for those
// that the service uses.
var File = having(map[string]*Rule{
	"name": {}, "version": {},
	"services": {Names: Service, Form: mappings},
	"volumes": {Form: mappings, Names: having(map[string]*Rule{
		"name":        {Form: text},
		"external":    not("a volume is your own, made when it is first used; name a directory of the place instead: /data:TARGET").but("false"),
		"driver":      not(ownDriver).but("local ''"),
		"driver_opts": not(ownDriver).but("{}"), "labels": not("volumes have no labels of yours").but("{} []"),
	}).in(orNothing)},
	"secrets": {Form: mappings, Names: having(map[string]*Rule{
		"file": {Form: text}, "environment": {Form: text}, "name": {Form: text},
		"external": not(ofLaptop).but("false"), "driver": not(ofLaptop).but("''"), "driver_opts": not(ofLaptop).but("{}"),
		"template_driver": not(ofLaptop).but("''"), "labels": not(ofLaptop).but("{} []"),
	})},
	// The service joins the network default alone, and has neither configs nor models.
	"networks": {Not: Reason{Why: NotNetworks}, unless: []string{"{}"}, Names: new(Rule).but("*"), Fields: map[string]*Rule{
		"default": new(Rule).but("{} ~").having(only(map[string]string{
			"driver": "bridge ''", "driver_opts": "{}", "external": "false", "internal": "false", "attachable": "true false", "labels": "{} []",
			"ipam": "{}", "enable_ipv4": "true", "enable_ipv6": "false", "name": "''",
		})),
	}},
	"configs": not("mount a file instead: volumes").but("*"),
	"models":  not(NotOthers).but("*"),
	"include": not(oneFile).but("[]"),
	"jobs":    instead("a job is started in the workspace", keyway.InsteadRun).but("{}"),
})

const ofLaptop = "secrets are files or variables of this laptop"

// device describes an item of gpus, and of deploy.resources.reservations.devices.
var device = having(all(shaped(texts, "capabilities", "device_ids"), shaped(whole, "count"), shaped(text, "driver"), map[string]*Rule{
	"options": not("drivers take no options here").but("{} []"),
}))

// Extension is the field for what Compose has no field for. Its rule is the caller's.
const Extension = "x-keyway"

// Service describes a service: the fields that keyway honours, and the reasons against the other
// fields of Compose.
var Service = having(all(
	shaped(text, "image", "user", "working_dir", "platform"), shaped(number, "cpus"), shaped(whole, "shm_size", "mem_limit", "pids_limit"),
	shaped(truth, "read_only", "stdin_open", "tty", "init"), shaped(texts, "cap_add", "security_opt"), shaped(textOrTexts, "tmpfs"),
	shaped(words, "command", "entrypoint"), shaped(pairsOrTexts, "environment", "labels"), shaped(Form{One: "[", Each: "sin"}, "expose"),
	map[string]*Rule{
		"ulimits":  {Form: mappings, Names: having(shaped(whole, "soft", "hard")).in(Form{One: "is{"})},
		"env_file": having(all(shaped(text, "path", "format"), shaped(truth, "required"))).in(Form{One: "s[", Each: "s{"}),
		"devices":  having(shaped(text, "source", "target", "permissions")).in(Form{One: "[", Each: "s{"}),
		"gpus":     having(device.Fields).in(Form{One: "s[", Each: "{"}),
		Extension:  extension,
		"ports":    having(all(shaped(whole, "target", "published"), shaped(text, "protocol", "host_ip", "mode", "name", "app_protocol"))).in(Form{One: "[", Each: "sin{"}),
		"secrets": having(all(shaped(text, "source", "target"), map[string]*Rule{
			"uid": not(notOwner).but("''"), "gid": not(notOwner).but("''"), "mode": not(notOwner).but("256 292 0400 0444 0o400 0o444"), // the workspace's, and Compose's own
		})).in(Form{One: "[", Each: "s{"}),
		"extends":        having(map[string]*Rule{"service": {Form: text}, "file": not(oneFile)}).in(Form{One: "s{"}),
		"deploy":         deploy,
		"volumes":        volume.in(Form{One: "[", Each: "s{"}),
		"build":          not("an image is built where it will run, or pulled: docker build -t NAME . at the place, then image: NAME"),
		"container_name": instead("the workspace is named when it is made", keyway.InsteadName),
	}, refused()))

var deploy = having(map[string]*Rule{
	"resources": having(map[string]*Rule{
		"limits": having(all(shaped(number, "cpus"), shaped(whole, "pids"), shaped(text, "memory"), map[string]*Rule{"devices": not("devices are reserved, not limited: write reservations")})).in(mappings),
		"reservations": having(map[string]*Rule{
			"devices": having(device.Fields).in(Form{One: "[", Each: "{"}),
			"cpus":    not("a place reserves no processors; limits.cpus bounds them").but("0"), "memory": not("a place reserves no memory; limits.memory bounds it").but("0 0b 0m 0g"),
			"generic_resources": not("ask for GPUs by gpus").but("[]"),
		}).in(mappings),
	}).in(mappings),
	"replicas": not(NotOthers).but("1"), "mode": not(NotOthers).but("replicated ''"), "endpoint_mode": not(NotNetworks).but("vip ''"),
	"labels":          not("write them as labels of the service").but("{} []"),
	"restart_policy":  not(notService).but("{}").having(only(map[string]string{"condition": "none ''"})),
	"placement":       instead("the place is chosen when the workspace is made", keyway.InsteadPlace).but("{}").having(only(map[string]string{"constraints": "[]", "preferences": "[]", "max_replicas_per_node": "0"})),
	"rollback_config": update(), "update_config": update(),
}).in(orNothing)

// update describes how Compose would replace replicas. A mapping with its defaults changes nothing.
func update() *Rule {
	return not(NotOthers).but("{}").having(only(map[string]string{
		"parallelism": "1", "delay": "0 0s", "failure_action": "pause ''", "monitor": "0 0s", "max_failure_ratio": "0", "order": "stop-first",
	}))
}

var volume = having(map[string]*Rule{
	"type": {Form: text}, "source": {Form: text}, "target": {Form: text}, "read_only": {Form: truth},
	"bind": having(map[string]*Rule{
		"create_host_path": {Form: truth}, "propagation": not(NotMounted).but("rprivate ''"), "selinux": not(NotMounted), "recursive": not(NotMounted).but("enabled"),
	}).in(mappings),
	"volume": having(map[string]*Rule{"nocopy": not(NotMounted).but("false"), "subpath": not(NotMounted).but("''"), "labels": not(NotMounted).but("{} []")}).in(mappings),
	"tmpfs": having(map[string]*Rule{
		"size": {Form: whole},
		"mode": not("anybody in the workspace may write to a tmpfs, as to /tmp").but("0 1023 01777 1777o 0o1777"),
	}).in(mappings),
	"consistency": not(NotMounted).but("consistent cached delegated default ''"), // it is for the machines of Docker Desktop
	"image":       not(NotMounted).but("{}").having(only(map[string]string{"subpath": "''"})),
})

// refused returns the fields of a service that a workspace cannot have.
func refused() map[string]*Rule {
	m := map[string]*Rule{}
	for reason, names := range map[Reason]string{
		{Why: NotNetworks}: "networks net dns dns_opt dns_search domainname extra_hosts hostname mac_address links external_links",
		{Why: NotOthers}:   "depends_on scale provider profiles volumes_from models",
		{Why: notService}:  "restart healthcheck stop_signal stop_grace_period attach develop post_start pre_start pre_stop pull_policy pull_refresh_after",
		{Why: notTuned}: "cgroup cgroup_parent cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset mem_reservation " +
			"memswap_limit mem_swappiness oom_kill_disable oom_score_adj sysctls storage_opt blkio_config umask isolation",
		{Why: "name the capabilities that it needs instead: cap_add"}: "privileged",
		NotNow: "network_mode",
		{"give shm_size for more shared memory, or choose it when the workspace is made", keyway.InsteadIPC}: "ipc",
		{Why: "the workspace has its own"}:                                                   "pid uts userns_mode use_api_socket",
		{Why: "ask for GPUs by gpus, and the engine finds the runtime"}:                      "runtime",
		{Why: "mount a file instead: volumes"}:                                               "configs credential_spec",
		{Why: "write them as labels"}:                                                        "label_file annotations",
		{"what a job prints is in its log", keyway.InsteadLogs}:                              "logging log_driver log_opt",
		{Why: "run as a user who has the group: user: \"UID:GID\""}:                          "group_add",
		{Why: "capabilities are only added; those that no workspace needs are gone already"}: "cap_drop",
		{Why: ownDriver}:                 "volume_driver dockerfile",
		{Why: "name devices by devices"}: "device_cgroup_rules",
	} {
		for _, name := range strings.Fields(names) {
			m[name] = (&Rule{Not: reason}).but(unchanged[name])
		}
	}
	m["networks"].having(only(map[string]string{"default": "{} ~"}))
	m["healthcheck"].having(only(map[string]string{"disable": "true false", "test": "[] [NONE]"}))
	m["logging"].having(only(map[string]string{"driver": "json-file ''", "options": "{}"}))
	m["blkio_config"].having(only(map[string]string{
		"weight": "0", "weight_device": "[]", "device_read_bps": "[]", "device_read_iops": "[]", "device_write_bps": "[]", "device_write_iops": "[]",
	}))
	m["develop"].having(only(map[string]string{"watch": "[]"}))
	return m
}

// unchanged maps refused fields of a service to the values that change nothing.
var unchanged = map[string]string{
	"networks": "{} [] [default] ~", "dns": "[] ''", "dns_opt": "[]", "dns_search": "[] ''", "domainname": "''", "extra_hosts": "{} []", "hostname": "''",
	"mac_address": "''", "links": "[]", "external_links": "[]", "network_mode": "bridge default ''",
	"depends_on": "{} []", "scale": "1", "profiles": "*", "volumes_from": "[]", "models": "{} [] ~", // a template is started by its name, which activates its profiles
	"restart": "no ''", "healthcheck": "{}", "stop_signal": "SIGTERM ''", "stop_grace_period": "10s 30s", "attach": "true false", "develop": "{} ~",
	"post_start": "[]", "pre_start": "[]", "pre_stop": "[]", "pull_policy": "missing if_not_present", "pull_refresh_after": "''", "mem_swappiness": "0", "umask": "~",
	"cgroup_parent": "''", "cpu_count": "0", "cpu_percent": "0", "cpu_period": "0", "cpu_quota": "0", "cpu_rt_period": "0", "cpu_rt_runtime": "0",
	"cpu_shares": "0 1024", "cpuset": "''", "mem_reservation": "0", "memswap_limit": "0", "oom_kill_disable": "false", "oom_score_adj": "0", "sysctls": "{} []",
	"storage_opt": "{}", "blkio_config": "{}", "isolation": "default ''",
	"privileged": "false", "ipc": "private ''", "pid": "~ ''", "uts": "''", "userns_mode": "''", "use_api_socket": "false", "runtime": "runc ''",
	"configs": "[]", "label_file": "[]", "annotations": "{} []", "logging": "{}", "group_add": "[]", "device_cgroup_rules": "[]",
	"cap_drop": "[] [AUDIT_WRITE] [MKNOD] [NET_RAW] [CAP_AUDIT_WRITE] [CAP_MKNOD] [CAP_NET_RAW]", // docker's that no workspace has
}
