package fields

// extension describes x-keyway, which holds what Compose has no field for.
var extension = having(map[string]*Rule{
	"forward_agent": {}, "setup": {}, "extensions": {}, "as": {}, "home": {}, "override": override,
})

// override describes x-keyway.override: the settings of a published template that users may
// change, in Compose's terms.
var override = having(shaped(Form{}, "gpus", "cpus", "mem_limit", "shm_size", "pids_limit", "tmpfs", "environment", "volumes",
	"command", "working_dir", "labels", "secrets", "user"))
