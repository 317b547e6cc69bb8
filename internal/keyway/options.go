package keyway

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"
)

// The names in Environment.Options of the options that have no field of their own there.
const (
	OptionCommand      = "command" // its hash
	OptionWorkdir      = "workdir"
	OptionReadOnly     = "read-only"
	OptionCPUs         = "cpus"
	OptionMemory       = "memory" // in bytes
	OptionPids         = "pids"
	OptionUlimits      = "ulimits"
	OptionDevices      = "devices"
	OptionCapabilities = "capabilities"
	OptionPrivileges   = "privileges"
	OptionIPC          = "ipc"
	OptionNetwork      = "network"
)

// OptionNames are all names in Environment.Options.
var OptionNames = []string{
	OptionCommand, OptionWorkdir, OptionReadOnly, OptionCPUs, OptionMemory, OptionPids, OptionUlimits,
	OptionDevices, OptionCapabilities, OptionPrivileges, OptionIPC, OptionNetwork,
}

// options returns the options of s, by their names. Two options with the same effect have the same
// text. A command is hashed, because it may contain secrets, as a variable may.
func (s Spec) options() map[string]string {
	all := map[string]string{OptionIPC: s.IPC, OptionNetwork: s.Network}
	if s.Workdir != "" {
		all[OptionWorkdir] = path.Clean(s.Workdir)
	}
	if len(s.Command) > 0 {
		sum := sha256.Sum256([]byte(strings.Join(s.Command, "\x00")))
		all[OptionCommand] = "sha256:" + hex.EncodeToString(sum[:])[:maxHashText]
	}
	if s.ReadOnly {
		all[OptionReadOnly] = "yes"
	}
	if s.CPUs > 0 {
		all[OptionCPUs] = strconv.FormatFloat(s.CPUs, 'g', -1, 64)
	}
	if s.Memory > 0 {
		all[OptionMemory] = strconv.FormatInt(s.Memory, 10) + " bytes"
	}
	if s.PidsLimit != 0 {
		all[OptionPids] = strconv.FormatInt(s.PidsLimit, 10)
	}
	if s.NewPrivileges {
		all[OptionPrivileges] = "new ones"
	}
	var ulimits, devices, capabilities []string
	for _, u := range s.Ulimits {
		ulimits = append(ulimits, u.String())
	}
	for _, d := range s.Devices {
		devices = append(devices, d.Source+":"+d.Target+":"+d.access())
	}
	for _, c := range s.CapAdd {
		if plain, err := ParseCapability(c); err == nil {
			c = plain
		}
		capabilities = append(capabilities, c)
	}
	all[OptionUlimits], all[OptionDevices], all[OptionCapabilities] = unordered(ulimits), unordered(devices), unordered(capabilities)
	for name, value := range all {
		if value == "" {
			delete(all, name)
		}
	}
	return all
}

// unordered returns the text of a list whose order has no meaning.
func unordered(texts []string) string {
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ", ")
}

// access returns the permitted operations on d, in a fixed order.
func (d Device) access() string {
	all := ""
	for _, c := range "rwm" {
		if strings.ContainsRune(d.Access, c) {
			all += string(c)
		}
	}
	return cmp.Or(all, d.Access)
}
