// Package hostnames knows what the user calls the hosts behind keys: from known_hosts
// files, from ssh_config, from the policy and from the workspaces of this laptop.
package hostnames
