// Package host runs workspaces as plain processes of the user at the place, for machines without a
// container engine or where the user may not use it. Such a workspace isolates nothing: it is the
// machine as its user sees it, with a guest and sessions that outlive every connection. It needs
// Linux. Begin with New.
package host
