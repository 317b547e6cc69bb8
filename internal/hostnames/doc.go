// Package hostnames finds the user's names for the hosts behind keys: in known_hosts files, in
// ssh_config, in the policy and among the workspaces of this laptop.
package hostnames
