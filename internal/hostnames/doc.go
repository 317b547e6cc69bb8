// Package hostnames finds what the user calls the hosts behind keys, in known_hosts files, in
// ssh_config, in the policy and among the workspaces of this laptop.
package hostnames
