// Package policy decides what an SSH agent may do for an asker. It is pure: facts in, a decision
// with its rule and its reason out. It opens no file except in Open and Read, which read a policy,
// has no clock and keeps no state. So every decision can be explained later from the facts in the
// audit log.
//
// Facts are gathered elsewhere (package agent) and contain only verified values. An unverified
// field is empty, and an empty field never matches a rule that names a value. Begin with
// Policy.Decide and Facts.
package policy
