// Package config has the arguments that the lab passes to its tool, as JSON.
package config

import "time"

// Init is a host as its first process makes it.
type Init struct {
	Hostname string
	Mounts   []Mount
}

// Mount is one mount of a host: bind, overlay (Source is where its writable
// layer is mounted), or a file system type with its data.
type Mount struct {
	Type   string
	Source string `json:",omitempty"`
	Target string
	Data   string `json:",omitempty"`
}

// Delay is a slow line between two hosts, known by their first processes.
type Delay struct {
	PIDs   [2]int
	Device string // the name of the network device at both ends
	OneWay time.Duration
	// Trace is a file that gets a line for each TCP segment with data: the index in PIDs
	// of the host that sent it, and its bytes of data. Empty: none.
	Trace string `json:",omitempty"`
}
