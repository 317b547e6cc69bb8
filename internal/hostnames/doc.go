// Package hostnames finds the user's names for the hosts behind keys: in known_hosts files, in
// ssh_config, in the policy and among the workspaces of this laptop. Names explain a key to the
// user, and let rules of the policy match it; they prove nothing. Begin with Lookup.
package hostnames
