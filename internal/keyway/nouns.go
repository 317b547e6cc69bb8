package keyway

import "cmp"

// nouns are the subjects of a new workspace's options.
var nouns = map[string]string{
	"as-me":        "the user",
	"cap-add":      "capabilities",
	"cpus":         "processors",
	"device":       "devices",
	"env":          "variables",
	"gpus":         "GPUs",
	"home-volume":  "a volume for the home directory",
	"image":        "the image",
	"ipc":          "the IPC namespace",
	"label":        "labels",
	"memory":       "memory",
	"network":      "the network",
	"pids-limit":   "the number of processes",
	"read-only":    "a read-only file system",
	"secret":       "secrets",
	"security-opt": "new privileges",
	"shm-size":     "shared memory",
	"ulimit":       "ulimits",
	"user":         "the user",
	"volume":       "mounts",
	"workdir":      "the working directory",
}

// NounOf returns what an option of a new workspace is about, for the message of an
// Error. Options themselves are named in Advice, by the words of docker run without
// dashes. An option that needs no other word is returned as it is.
func NounOf(option string) string { return cmp.Or(nouns[option], option) }
